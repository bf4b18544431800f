"""The display of a training in a notebook: a part of the cell's output, drawn again and again.

It is HTML that the notebook itself replaces, which takes no widgets, so that every front end shows it, and a saved
notebook keeps the last frame.
"""

import io
from typing import Any

from rich.console import Console as Rich
from rich.console import Group
from rich.panel import Panel
from rich.text import Text

from charrnn.console.format import plan_lines, summary_lines
from charrnn.console.live import LiveDisplay
from charrnn.console.streams import Console
from charrnn.console.terminal_text import escape_line
from charrnn.runs.events import DoneEvent, Event, PlanEvent, ReplanEvent

_COLUMNS = 100

_HTML = '<pre style="line-height: 1.25; overflow-x: auto; font-family: monospace">{code}</pre>'


def _paper() -> Rich:
    """Return what takes down a frame; rich itself would put it into the cell's output."""
    paper: Any = {"file": io.StringIO(), "record": True, "width": _COLUMNS, "force_jupyter": False}
    return Rich(**paper, highlight=False, markup=False, emoji=False)


class _Page:
    """What `rich.live.Live` is on a terminal."""

    def __init__(self) -> None:
        self.is_started = False
        self._handle: Any = None

    def start(self) -> None:
        """Begin; nothing is drawn yet."""
        self.is_started = True

    def stop(self) -> None:
        """End; the last frame stays."""
        self.is_started = False

    def update(self, renderable: Any, *, refresh: bool = False) -> None:
        """Draw a frame in the place of the one before."""
        import IPython.display  # a notebook has it

        rich = _paper()
        rich.print(renderable)
        html = rich.export_html(inline_styles=True, code_format=_HTML, clear=False)
        bundle = {"text/html": html, "text/plain": rich.export_text()}
        if self._handle is None:
            display: Any = IPython.display.display  # which has no types
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


class NotebookDisplay(LiveDisplay):
    """As `LiveDisplay`, with the plan above, and the figures of the finished run in the end."""

    def __init__(self) -> None:
        super().__init__(Console())
        self.rich = _paper()
        self.live = _Page()
        self._about: list[str] = []

    def __call__(self, event: Event) -> None:
        """See `Display`."""
        if not isinstance(event, DoneEvent):
            super().__call__(event)
            return
        lines = Text("\n".join(map(escape_line, summary_lines(event))))
        panel = Panel(lines, title="done", title_align="left", expand=False)
        self.live.update(Group(self._plan_text(), *self._picture(), Text(), panel))
        self.live.stop()

    def close(self) -> None:
        """Leave the last frame where it is."""
        self.live.stop()

    def _plan(self, event: PlanEvent | ReplanEvent) -> None:
        if isinstance(event, PlanEvent) and not self.live.is_started:
            self.now["speed"] = event.chars_per_second
            self.live.start()
        self.steps = event.steps
        self._about += plan_lines(event)

    def _fit(self) -> None:
        """A notebook has no size."""

    def _parts(self) -> list[Any]:
        return [self._plan_text(), Text(), *super()._parts()]

    def _plan_text(self) -> Text:
        return Text("\n".join(map(escape_line, self._about)), style="dim")
