"""Train the recipes of the book, and go on where an interrupted run stopped.

recipes      Recipe, one commented line a setting, checked when it is made; RECIPES, those of the models that ship
loop         train(recipe, data, out): one run, from the data to weights, history and manifest entry
batches      from a Dataset to batches; the order of the images within an epoch
records      from a folder of shards to batches, for data larger than memory; the writing of shards
compiled     many steps of training in one compiled call
distributed  one training by several processes, with the result of one
checkpoints  what an unfinished run leaves, and what a finished one writes
watch        a callback for `fit`: progress, losses and what the decoder draws, while a model trains

`recipes` loads no TensorFlow, so a wrong setting is refused at once; import the others by their own names.
"""
