"""The shell face: `app` is the command line, a file a command, `options` what they share.

A command turns options into a configuration, makes one call, and returns an exit code.
"""
