"""Every option of every command, with its default and its help, written once.

Read `params` and `lists` (types of values), `options` (how a field becomes an option, and the order of precedence),
then `train`, `sample`, `eval` and `manage` (the small commands); `groups` has what they share, `renamed` the old names.
"""
