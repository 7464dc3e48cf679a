"""Sphinx extension: the bar behind which a cell of checks is folded says what the cell guarantees.

It is the comment that the cell begins with: `# Check: the two losses are those of Keras, to six digits.`
"""

import re

from docutils import nodes
from sphinx.transforms import SphinxTransform

CHECK = re.compile(r"# (Check: .*(?:\n# .*)*)")


class NameChecks(SphinxTransform):
    """Put the first comment of a folded cell of checks in the place of "Show the code"."""

    default_priority = 300

    def apply(self):
        for cell in self.document.findall(nodes.container):
            if "tag_hide-cell" in cell["classes"]:
                code = next(cell.findall(nodes.literal_block))
                if found := CHECK.match(code.astext()):
                    cell["prompt_show"] = cell["prompt_hide"] = found[1].replace("\n# ", " ")


def setup(app):
    app.add_transform(NameChecks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
