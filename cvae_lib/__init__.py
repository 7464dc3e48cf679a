"""The helpers that the chapters of the book share.

`data` loads the digits, `model` holds the network and its two losses, `training` the recipes, `fast` what speeds
them up, `pretrained` the weights that ship, `likelihood` and `metrics` what the chapters measure, `plots` and
`widgets` what they show. Importing this package, or `data`, `likelihood`, `metrics` and `plots`, loads no TensorFlow.
"""
