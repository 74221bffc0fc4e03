"""Light and weather of a recording: day, rain and night."""

from __future__ import annotations

from dataclasses import dataclass

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Condition:
    """How a recording is lit. Colours and lights are BGR, 1.0 lights white to white."""

    name: str
    lighting: str
    weather: str
    hour: int
    sun: Triple
    sunlight: Triple
    ambient: Triple
    sky_low: Triple
    sky_high: Triple
    clouds: float
    haze: float
    wetness: float
    exposure: float
    noise: float
    lamps_on: bool = False
    lamp_light: Triple = (0.0, 0.0, 0.0)
    window_light: float = 0.0
    headlight: float = 0.0
    rain_streaks: float = 0.0


DAY = Condition(
    name="day", lighting="day", weather="clear", hour=9,
    sun=(0.52, -0.44, 0.73), sunlight=(0.62, 0.72, 0.78), ambient=(0.60, 0.53, 0.48),
    sky_low=(0.93, 0.88, 0.82), sky_high=(0.86, 0.62, 0.40), clouds=0.6,
    haze=0.0016, wetness=0.0, exposure=1.42, noise=1.6,
)  # fmt: skip
RAIN = Condition(
    name="rain", lighting="day", weather="rain", hour=14,
    sun=(0.1, -0.3, 0.95), sunlight=(0.0, 0.0, 0.0), ambient=(0.74, 0.71, 0.68),
    sky_low=(0.66, 0.64, 0.62), sky_high=(0.58, 0.55, 0.52), clouds=0.5,
    haze=0.0075, wetness=1.0, exposure=1.22, noise=1.6, rain_streaks=1.0,
)  # fmt: skip
NIGHT = Condition(
    name="night", lighting="night", weather="clear", hour=21,
    sun=(0.0, 0.0, 1.0), sunlight=(0.0, 0.0, 0.0), ambient=(0.29, 0.225, 0.20),
    sky_low=(0.17, 0.12, 0.11), sky_high=(0.09, 0.055, 0.05), clouds=0.4,
    haze=0.0006, wetness=0.45, exposure=1.0, noise=2.8,
    lamps_on=True, lamp_light=(50.0, 70.0, 84.0), window_light=0.85, headlight=1.5,
)  # fmt: skip

CONDITIONS: dict[str, Condition] = {c.name: c for c in (DAY, RAIN, NIGHT)}


def condition_named(name: str) -> Condition:
    """The condition called `name`.

    Raises:
        KeyError: no condition has this name; the message lists those that exist.
    """
    if name not in CONDITIONS:
        raise KeyError(f"Expected a condition among {', '.join(CONDITIONS)}, but got {name!r}.")
    return CONDITIONS[name]
