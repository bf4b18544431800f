"""The program as a user has it: started as a process, seen from outside.

`CHARRNN_TREE=FOLDER python -m pytest tests/program` runs another checkout in its place, such as one of 66ff440, before
the faults that these tests found were mended; options are translated to that version's names.
"""
