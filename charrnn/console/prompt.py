"""A line from the user, typed at a terminal: with editing, history and completion."""

import sys
from collections.abc import Sequence

from charrnn.console.streams import Console


class LineReader:
    """Reads lines from the terminal. Up and down are the lines before, for as long as the program runs.

    Args:
        console: the program's.
        commands: words that Tab completes at the start of a line.
        file_commands: those of them behind which it completes the names of files.
    """

    def __init__(self, console: Console, commands: Sequence[str], file_commands: Sequence[str]) -> None:
        from prompt_toolkit import PromptSession  # late: it takes longer to import than all the rest of the program
        from prompt_toolkit.completion import NestedCompleter, PathCompleter, WordCompleter, merge_completers
        from prompt_toolkit.output import ColorDepth, create_output
        from prompt_toolkit.output.vt100 import Vt100_Output
        from prompt_toolkit.shortcuts import CompleteStyle
        from prompt_toolkit.utils import is_dumb_terminal

        output = None
        if not is_dumb_terminal():  # where it is one, and nothing is given, nothing is drawn but what is typed
            output = create_output(sys.stdout)
            if isinstance(output, Vt100_Output):
                output.enable_cpr = False  # no answer of the terminal's comes into what is typed meanwhile
        paths = PathCompleter(expanduser=True)
        self._session: PromptSession[str] = PromptSession(
            "> ",
            output=output,
            color_depth=None if console.color else ColorDepth.DEPTH_1_BIT,
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,
            completer=merge_completers(
                [
                    WordCompleter(list(commands), sentence=True),
                    NestedCompleter.from_nested_dict(dict.fromkeys(file_commands, paths)),
                ],
                deduplicate=True,
            ),
            enable_suspend=True,
            reserve_space_for_menu=0,
        )

    def read(self) -> str | None:
        """Return the next line, without its end; None where there is none: Ctrl-D.

        Raises:
            KeyboardInterrupt: Ctrl-C.
        """
        try:
            line: str = self._session.prompt()
        except EOFError:
            return None
        return line
