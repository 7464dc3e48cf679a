"""The commands that make what ships, such as the trained models and the tables, and a hook for chapters in Jupyter.

cli                python -m cvae_lib train | classifier | sweep | snapshots | export
launch             one training by several processes of this machine, to try what a cluster would do
sweeps             tables of many training runs
executors          calls in processes of their own, on this machine or on a Dask cluster
digit_classifier   the network that reads what the models draw
snapshots          what a model draws while it learns, for chapter 3
scaling            what an update costs with several processes, for chapter 18
export_explorer    a trained model for the explorer in the published page
export_toys        a few digits for the live toys of chapter 2
export_trainer     the digits that the page trains on, and those that it is tested on
notebooks          what a chapter keeps of its metadata when it is executed, or saved in Jupyter
"""
