"""Every option of every command, with its default and its help, written once.

Read `params` (types of values), `options` (how a field becomes an option, and the order of precedence), then `train`,
`sample` and `eval`; `groups` has what they share.
"""
