"""The console that shows text of stores and files as it is."""

from rich.console import Console
from rich.text import Text

from inoc.reading import printable


class PlainConsole(Console):
    """No markup, no emoji codes, no control characters: `[/]` in a key is shown and ESC is not obeyed."""

    def render_str(self, text: str, **options: object) -> Text:  # pyright: ignore[reportIncompatibleMethodOverride]
        plain = {**options, "markup": False, "emoji": False, "highlight": False}
        return super().render_str(printable(text), **plain)  # pyright: ignore[reportArgumentType]
