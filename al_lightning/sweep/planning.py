"""The runs of a grid: all of them are composed and checked before the first one starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from al_lightning.config import ConfigError
from al_lightning.engine.reuse import result_settings
from al_lightning.sweep.files import Sweep, words_of
from al_lightning.sweep.journal import Journal, State


def plan(
    journal: Journal,
    sweeps: Sequence[Sweep],
    words: Sequence[str],
    compose: Callable[[Sequence[str]], Mapping[str, Any]],
    say: Callable[[str], None],
) -> None:
    """Add the runs of all grids that are not in the journal yet.

    A run that is the same as one of another of the sweeps, or as a finished one in the folder, is not run a second
    time: the tables read the folder as a whole.

    Args:
        journal: is added to.
        sweeps: sweep files; searches are left to be suggested when their turn comes.
        words: added to every run's ``name=value`` words.
        compose: words -> resolved configuration.
        say: told of the runs left out.

    Raises:
        ConfigError: a run's configuration is refused.
    """
    asked = {sweep.name for sweep in sweeps}
    settings = {
        run.name: result_settings(journal.config(run) or compose([*words_of(run.parameters), *words, "run_dir=."]))
        for run in journal.runs
        if run.sweep in asked or run.state is State.finished
    }
    for sweep in (sweep for sweep in sweeps if sweep.is_grid):
        present = [run.parameters for run in journal.of(sweep.name)]
        for parameters in sweep.grid():
            if parameters in present:
                continue
            name = sweep.run_name(parameters)
            try:
                new = result_settings(compose([*words_of(parameters), *words, "run_dir=."]))
            except ConfigError as error:
                raise ConfigError(f"{sweep.name}, run {' '.join(words_of(parameters))}: {error}") from error
            if twin := next((other for other, theirs in settings.items() if theirs == new), None):
                say(f"{sweep.name}/{name} is {twin}")
                continue
            settings[journal.add(sweep.name, name, parameters).name] = new
