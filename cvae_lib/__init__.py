"""The helpers that the chapters of the book share.

`data` loads the digits, `model` holds the network and its two losses, `variants` the same with another objective,
`training` the recipes, `sweeps` tables of them, `pretrained` the weights that ship, `judge` a network that reads what
is drawn, `likelihood` and `metrics` what the chapters measure, `plots` and `widgets` what they show. Importing this
package, or `data`, `likelihood`, `metrics` and `plots`, loads no TensorFlow.
"""


class BookError(Exception):
    """What has a remedy: the message says what was found, what was expected and what to do."""
