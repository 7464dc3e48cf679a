"""The helpers that the chapters of the book share.

`data` loads the digits, `model` holds the network and its two losses, `training` the recipes, `pretrained` the
weights that ship, `metrics` what the chapters measure, `plots` and `widgets` what they show. Importing this
package, or `data`, `metrics` and `plots`, loads no TensorFlow.
"""
