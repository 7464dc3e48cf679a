"""What makes the things that ship: the trained models, the tables, the explorer's data; and chapters in Jupyter.

cli                python -m cvae_lib train | classifier | sweep | export
sweeps             tables of many training runs
digit_classifier   the network that reads what the models draw
export_explorer    a trained model for the explorer in the published page
notebooks          what a chapter keeps of its metadata when it is executed, or saved in Jupyter
"""
