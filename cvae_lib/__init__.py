"""The library of the book. Imports run one way: `data` imports no other part, `tools` imports all parts, and no part
imports `tools`.

The core, which the chapters teach:

model          the conditional VAE: two networks, two losses, a model (chapter 2 writes it line by line)
convolutional  the CVAE with convolutions next to the image, and `build_cvae`, which builds either
objectives     the same networks, trained with another objective: beta, warm-up, continuous Bernoulli, dropout
evaluate       encode, decode, the ELBO by draws, scores under every label, a continuous model read as a Bernoulli
likelihood     log p(x | y) by a sum over the latent plane, the true posterior, the importance-weighted bound
annealing      log p(x | y) of any number of latents by annealed importance sampling, between two bounds
metrics        compare means with an interval, cross-entropy, the KL of a Gaussian, active units, the shape of a digit
pictures       from vectors of pixels to pictures, sheets and PNG files
plots          arrays in, figures out
tables         columns in, text out
widgets        panels for Jupyter: controls, and the picture of their values
animation      images in, an animated picture out
pretrained     the models that ship: weights, histories, manifest
files          files that are written whole or not at all, and by one run at a time

The machinery, in three sub-packages:

data          Dataset and its condition; readers that refuse malformed files and pictures; MNIST; shards
training      Recipe, and train(recipe, data, out), which can be interrupted, and shared by several processes
tools         the command line, tables of many runs, here or on a cluster, the digit classifier, the page's exports

Importing this package, `data`, `likelihood`, `metrics`, `plots`, `widgets`, `animation`, `pretrained`,
`files` or `training.recipes` loads no TensorFlow.
"""


class BookError(Exception):
    """The base class of errors that the user can fix: the message says what was found, expected, and what to do."""
