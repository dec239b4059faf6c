"""The controls of one visitor: widgets that show a state, and report what the visitor changes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import viser

from query.objects.clicks import PhraseScore
from query.phrase_answer import PhraseAnswer
from query.tables import counted, shortened
from viewer.state import EDITS, SHOWS, ViewState, phrases_of

BEST = "best"  # the level that answers best
NEVER = (0.01, 0.99)  # ends of the threshold


@dataclass(frozen=True)
class Actions:
    """What a visitor can do."""

    change: Callable[..., None]
    """New values of fields of the state."""
    jump: Callable[[str], None]
    """To a photograph's camera, by name."""
    save: Callable[[], None]
    """The answer into the model folder."""
    download_splats: Callable[[], None]
    download_page: Callable[[], None]


class Panel:
    """Widgets of viser, created once per visitor."""

    def __init__(
        self,
        gui: Any,
        title: str,
        state: ViewState,
        levels: Sequence[str],
        cameras: Sequence[str],
        negatives: Sequence[str],
        actions: Actions,
    ):
        self._gui, self._actions, self._cameras = gui, actions, list(cameras)
        self._silent = False
        self._asked = state.phrase
        gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False, brand_color=(64, 156, 255))
        gui.set_panel_label(title)
        self._question(state, negatives)
        self._look(state, levels)
        self._click(state)
        self._places()
        self._edits(state)

    def _question(self, state: ViewState, negatives: Sequence[str]) -> None:
        gui = self._gui
        with gui.add_form(None) as form:
            self._phrase = gui.add_text("Look for", state.phrase, hint="What to look for in the scene; press Enter")
            self._negatives = gui.add_text(
                "Against", ", ".join(state.negatives), hint=f"What it must beat, with commas; empty: {', '.join(negatives)}"
            )
            search = gui.add_button("Search", icon=viser.Icon.SEARCH)
        search.on_click(lambda _: form.submit())
        form.on_submit(
            lambda _: self._report(phrase=" ".join(self._phrase.value.split()), negatives=phrases_of(self._negatives.value))
        )
        self._summary = gui.add_markdown("Type what you look for, and press **Enter**.")
        self._earlier: dict[str, str] = {}
        self._history = gui.add_button_group("Earlier", ("-",), visible=False)
        self._history.on_click(lambda _: self._report(phrase=self._earlier[self._history.value]))
        self._show_history(state)

    def _look(self, state: ViewState, levels: Sequence[str]) -> None:
        gui = self._gui
        self._show = gui.add_dropdown("Show", SHOWS, initial_value=state.show)
        self._threshold = gui.add_slider(
            "Threshold", *NEVER, 0.01, state.threshold, hint="Relevancy that counts; at 0.5 a phrase beats everything else"
        )
        self._opacity = gui.add_slider("Overlay", 0.0, 1.0, 0.05, state.opacity, hint="Opacity of the colours")
        self._level = gui.add_dropdown(
            "Level", (BEST, *levels), initial_value=state.level or BEST, hint="Size of things: s parts, m objects, l groups"
        )
        self._show.on_update(lambda _: self._report(show=self._show.value))
        self._threshold.on_update(lambda _: self._report(threshold=float(self._threshold.value)))
        self._opacity.on_update(lambda _: self._report(opacity=float(self._opacity.value)))
        self._level.on_update(lambda _: self._report(level=None if self._level.value == BEST else self._level.value))

    def _click(self, state: ViewState) -> None:
        gui = self._gui
        with gui.add_folder("What is there"):
            self._clicked = gui.add_markdown("Click anything in the picture.")
            with gui.add_form(None) as names:
                self._vocabulary = gui.add_text(
                    "Names", ", ".join(state.vocabulary), hint="Names to choose from, with commas; empty: the earlier phrases"
                )
            names.on_submit(lambda _: self._report(vocabulary=phrases_of(self._vocabulary.value)))

    def _places(self) -> None:
        gui = self._gui
        with gui.add_folder("Photographs"):
            self._camera = gui.add_dropdown("Camera", self._cameras)
            step = gui.add_button_group("Jump", ("Back", "Here", "Next"))
        self._camera.on_update(lambda _: self._silent or self._actions.jump(self._camera.value))

        def stepped(_: Any) -> None:
            place = self._cameras.index(self._camera.value) + {"Back": -1, "Here": 0, "Next": 1}[step.value]
            name = self._cameras[place % len(self._cameras)]
            self._quietly(self._camera, name)
            self._actions.jump(name)

        step.on_click(stepped)

    def _edits(self, state: ViewState) -> None:
        gui = self._gui
        with gui.add_folder("Edit and save"):
            self._edit = gui.add_dropdown("Scene", EDITS, initial_value=state.edit, hint="What is left of the scene")
            self._color = gui.add_rgb("Colour", state.color, visible=state.edit == EDITS[3])
            self._save = gui.add_button(
                "Save with the model",
                icon=viser.Icon.DEVICE_FLOPPY,
                color="gray",
                hint="Positions and splat files, as locate.py writes them",
            )
            self._splats = gui.add_button("Download splats (.ply)", icon=viser.Icon.DOWNLOAD, color="gray")
            page = gui.add_button(
                "Download page (.html)",
                icon=viser.Icon.FILE_EXPORT,
                color="gray",
                hint="The scene as shown, in a file that opens without a server",
            )
        self._edit.on_update(lambda _: self._report(edit=self._edit.value))
        self._color.on_update(lambda _: self._report(color=tuple(int(part) for part in self._color.value)))
        self._save.on_click(lambda _: self._actions.save())
        self._splats.on_click(lambda _: self._actions.download_splats())
        page.on_click(lambda _: self._actions.download_page())

    def show_state(self, state: ViewState) -> None:
        """Bring the widgets to a state that they did not report themselves."""
        if state.phrase != self._asked:  # otherwise what is being typed stays
            self._asked = state.phrase
            self._quietly(self._phrase, state.phrase)
        self._color.visible = state.edit == EDITS[3]
        self._show_history(state)

    def _show_history(self, state: ViewState) -> None:
        if list(self._earlier.values()) != list(state.history):
            self._earlier = {shortened(phrase): phrase for phrase in state.history}
            self._history.options = tuple(self._earlier) or ("-",)
        self._history.visible = bool(state.history)

    def show_answer(self, answer: PhraseAnswer | None, seconds: float) -> None:
        """A few lines about the answer."""
        if answer is None:
            self._summary.content = "Type what you look for, and press **Enter**."
            return
        time, name = f"{1000 * seconds:.0f} ms", _plain(shortened(answer.phrase))
        if not answer.instances:
            self._summary.content = (
                f"**{name}** is not here: highest relevancy {answer.compared.best:.2f} at level {answer.level}. "
                f"A lower threshold shows where it would be. ({time})"
            )
            return
        unit = " m" if answer.model.frame.scale is not None else ""
        lines = [
            f"{number}. at {_triple(one.center)}{unit}, score {one.score:.2f}"
            for number, one in enumerate(answer.objects(views=0)[:5], 1)
        ]
        more = f"\n\n{len(answer.instances) - 5} more" if len(answer.instances) > 5 else ""
        count = counted(len(answer.instances), "instance")
        self._summary.content = f"**{name}**: {count}, level {answer.level} ({time})\n\n" + "\n".join(lines) + more

    def show_click(self, text: str) -> None:
        """What a click has found."""
        self._clicked.content = text

    def _report(self, **changes: Any) -> None:
        if not self._silent:
            self._actions.change(**changes)

    def _quietly(self, widget: Any, value: Any) -> None:
        """Set a widget without reporting it as the visitor's change."""
        if widget.value == value:
            return
        self._silent = True
        try:
            widget.value = value
        finally:
            self._silent = False


def click_text(
    position: Sequence[float], unit: str, count: int, instance: tuple[str, int] | None, names: Sequence[PhraseScore]
) -> str:
    """What was clicked: position in the model's frame, instance (phrase and number), and the names that fit best."""
    lines = [f"At **{_triple(position)}**{unit}, {counted(count, 'Gaussian')}."]
    if instance is not None:
        lines.append(f"Part of **{_plain(shortened(instance[0]))}** {instance[1]}.")
    if names:
        lines.append("\n".join(f"- {_plain(shortened(one.phrase))}: {one.score:.2f} (level {one.level})" for one in names))
    else:
        lines.append("Type names below, or look for something, to see what it could be.")
    return "\n\n".join(lines)


def _triple(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def _plain(text: str) -> str:
    """A phrase that Markdown shows as it is."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]()#+-.!|~" else letter for letter in escape(text, quote=False))
