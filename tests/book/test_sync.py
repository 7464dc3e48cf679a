"""An edit of prose reaches the notebook with its outputs, and numbers follow the order of the text."""

import jupytext

from chapters import sync

TEXT = """# A chapter

<a id="eq-new"></a>

$$
a = b
\\tag{0.0}
$$

<a id="eq-old"></a>

$$
c = d
\\tag{3.1}
$$

By [equation (3.1)](#eq-old) and [Figure 3.1](#fig-old).

```{code-cell} ipython3
print(1)
```

<a id="fig-new"></a>**Figure 0.0.** A new one.

<a id="fig-old"></a>**Figure 3.1.** An old one.
"""


def test_equations_and_figures_are_numbered_in_their_order():
    text, numbers = sync.number(TEXT, 3)
    assert numbers == {"eq-new": "3.1", "eq-old": "3.2", "fig-new": "3.1", "fig-old": "3.2"}
    assert text.index("\\tag{3.1}") < text.index("\\tag{3.2}")
    assert "**Figure 3.1.** A new one." in text and "**Figure 3.2.** An old one." in text


def test_links_say_the_new_numbers_here_and_on_other_pages():
    numbers = {"03_page": sync.number(TEXT, 3)[1]}
    here = sync.relink(TEXT, "03_page", numbers)
    assert "By [equation (3.2)](#eq-old) and [Figure 3.2](#fig-old)." in here
    there = "See [equation (3.1)](03_page.ipynb#eq-old), [2.5 nats](03_page.ipynb) and [Figure 4.1](04_x.ipynb#fig-x)."
    expected = there.replace("(3.1)](03_page", "(3.2)](03_page")
    assert sync.relink(there, "glossary", numbers) == expected


def stored(text):
    """The notebook of a text, as if it had been executed."""
    notebook = jupytext.reads(text, fmt="md:myst")
    for count, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), start=1):
        cell.execution_count = count
        cell.outputs = [{"output_type": "stream", "name": "stdout", "text": f"{count}\n"}]
    return notebook


def test_prose_is_carried_and_outputs_stay():
    carried = sync.carry(TEXT.replace("# A chapter", "# Another title"), stored(TEXT))
    (code,) = [cell for cell in carried.cells if cell.cell_type == "code"]
    assert carried.cells[0].source.startswith("# Another title")
    assert code.execution_count == 1 and code.outputs[0]["text"] == "1\n"


def test_code_that_has_changed_is_not_carried():
    assert sync.carry(TEXT.replace("print(1)", "print(2)"), stored(TEXT)) is None
