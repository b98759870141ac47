"""What is asked of a model: the settings of a new sound, or of what becomes of a given one."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from distill.audio.knobs import KNOBS
from distill.errors import UsageError
from distill.generation import GUIDANCE, TOP_P
from distill.generation.limits import check_request
from distill.generation.sampler import SamplingConfig
from distill.validation import explain

Action = Literal["generate", "continue", "fill", "vary", "morph"]
Keep = Literal["attack", "structure"]
# Beats in a bar.
BEATS, MOST_BARS, SLOWEST = 4, 64, 20.0
# A loop is made as a whole.
MOST_LOOP_SECONDS = 300.0
# From 0 to 1, or a text with a unit.
Knob = Annotated[float, Field(ge=0.0, le=1.0)] | str


# What a request says nothing of where it has this value.
_WITHOUT = {
    **dict.fromkeys(("label", *KNOBS, "bpm", "bars", "strength", "keep", "weight", "channels")),
    "loop": False,
    "width": 1.0,
}


def seconds_of_bars(bpm: float, bars: int) -> float:
    """The duration of bars of four beats.

    >>> seconds_of_bars(120.0, 2)
    4.0
    """
    return 60 * BEATS * bars / bpm


class Request(BaseModel):
    """Settings of one or several sounds; together with a model, a seed and a given sound they decide every sample.

    Attributes:
        action: a new sound, what follows a given one, a part of a given one anew, a variation of a given one, or what
            lies between two given ones.
        seconds: duration of what is new, in s; None where a part is filled.
        natural: `seconds` is the greatest duration, and the sound ends where the prior ends it.
        finish: a new sound is finished (see `distill.generation.finish`): a natural one without the silence around it.
        start: where the part to fill begins, in s.
        end: where it ends, in s.
        levels: levels to renew in the part, from 0; None: all.
        temperature: one for all levels or one for each, as in `SamplingConfig`.
        top_k: the same.
        top_p: the same.
        min_p: the same.
        label: of the sounds that the model learned from; a new sound shall be of this kind.
        length: how long a new sound shall be, from 0, as the shortest that the model learned from, to 1, as the
            longest; or in a unit, such as "0.3s". The further knobs alike: see `distill.audio.knobs`.
        attack: how slowly it shall begin, or "20ms".
        bright: or "2kHz".
        noisy: or how tonal.
        low: how much of it shall lie below 150 Hz, or "-12dB".
        pitch: or a note such as "A1", or "55Hz", which a single sound then has exactly.
        guidance: how strongly what is asked for counts, beyond what the model makes of it; 0: not beyond.
        bpm: the tempo that a new sound's duration fits, in beats a minute.
        bars: how many bars of four beats it has at that tempo.
        loop: a new sound's end leads into its beginning.
        strength: how much of a given sound is varied, from 0, nothing, to 1, all of it.
        keep: what of it stays at any strength: the columns in which something begins, or the coarsest level.
        weight: where between two given sounds, from 0, the first, to 1, the second.
        best_of: so many candidates are drawn for a sound, of which the nearest to what is asked for is taken; None: 3
            where something is asked for, and up to 12 while none has the label.
        channels: 1 or 2; None: 2 of a model that learned from stereo sounds. What follows a given sound, or fills it,
            has the channels of that.
        width: by how much what tells the two channels apart is scaled, from 0, alike, over 1, as learned.

    Raises:
        pydantic.ValidationError: the settings do not belong together.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    action: Action = "generate"
    seconds: float | None = None
    natural: bool = False
    finish: bool = False
    start: float | None = None
    end: float | None = None
    levels: tuple[int, ...] | None = None
    temperature: float | tuple[float, ...] = 1.0
    top_k: int | tuple[int, ...] = 0
    top_p: float | tuple[float, ...] = TOP_P
    min_p: float | tuple[float, ...] = 0.0
    label: str | None = None
    length: Knob | None = None
    attack: Knob | None = None
    bright: Knob | None = None
    noisy: Knob | None = None
    low: Knob | None = None
    pitch: Knob | None = None
    bpm: float | None = Field(None, ge=SLOWEST, le=999.0)
    bars: int | None = Field(None, ge=1, le=MOST_BARS)
    loop: bool = False
    strength: float | None = Field(None, ge=0.0, le=1.0)
    keep: Keep | None = None
    weight: float | None = Field(None, ge=0.0, le=1.0)
    guidance: float = Field(GUIDANCE, ge=0.0, le=10.0)
    best_of: int | None = Field(None, ge=1, le=64)
    channels: Literal[1, 2] | None = None
    width: float = Field(1.0, ge=0.0, le=1.5)

    @model_validator(mode="before")
    @classmethod
    def _bars_last(cls, values: Any) -> Any:
        """The duration of so many bars, where none is given."""
        if not isinstance(values, dict) or values.get("seconds") is not None:
            return values
        bpm, bars = values.get("bpm"), values.get("bars")
        # What else they may be is refused with the other settings.
        if isinstance(bpm, int | float) and isinstance(bars, int) and bpm >= SLOWEST and 1 <= bars <= MOST_BARS:
            return {**values, "seconds": seconds_of_bars(bpm, bars)}
        return values

    @model_validator(mode="after")
    def _belong_together(self) -> "Request":
        fills = self.action == "fill"
        whole = self.action in ("vary", "morph")
        if fills != (self.start is not None and self.end is not None) or (self.start is None) != (self.end is None):
            raise ValueError("start and end are for filling a part, and both are needed there")
        if fills and (self.seconds is not None or self.natural):
            raise ValueError("a part that is filled has its duration from start and end")
        if (self.action == "vary") != (self.strength is not None):
            raise ValueError("a strength is for varying a sound, and needed there")
        if self.keep is not None and self.action != "vary":
            raise ValueError("keep is for varying a sound")
        if (self.action == "morph") != (self.weight is not None):
            raise ValueError("a weight is for what lies between two sounds, and needed there")
        if whole and (self.seconds is not None or self.natural):
            raise ValueError("what becomes of a whole sound has its duration from that")
        self._check_bars()
        if not fills and not whole and self.seconds is None:
            raise ValueError("a duration is needed")
        if self.finish and self.action != "generate":
            raise ValueError("finish is for new sounds: what is given stays as it is")
        if not fills and self.levels is not None:
            raise ValueError("levels are for filling a part")
        if self.asks and self.action != "generate":
            raise ValueError("labels and knobs are for new sounds")
        if self.channels is not None and self.action in ("continue", "fill"):
            raise ValueError("a continued or filled sound has the channels of the given one")
        if self.channels == 1 and self.width != 1.0:
            raise ValueError("one channel has no width")
        return self

    def _check_bars(self) -> None:
        if (self.bpm is None) != (self.bars is None):
            raise ValueError("bars and bpm belong together")
        if (self.bpm is not None or self.loop) and (self.action != "generate" or self.natural):
            raise ValueError("bars and loops are for new sounds with an exact duration")
        if self.loop and self.seconds is not None and self.seconds > MOST_LOOP_SECONDS:
            raise ValueError(f"a loop has at most {MOST_LOOP_SECONDS:g} s")
        if self.bpm is not None and self.bars is not None and self.seconds != seconds_of_bars(self.bpm, self.bars):
            raise ValueError("bars and bpm set another duration: omit the duration")

    def frames(self, sample_rate: int) -> int:
        """How many samples an exact duration has at a sample rate in Hz."""
        if self.bpm is not None and self.bars is not None:
            return max(1, round(sample_rate * 60 * BEATS * self.bars / self.bpm))
        return max(1, round((self.seconds or 0.0) * sample_rate))

    @property
    def knobs(self) -> dict[str, float | str]:
        """The knobs that are asked for."""
        return {name: value for name in KNOBS if (value := getattr(self, name)) is not None}

    @property
    def asks(self) -> bool:
        """Whether a label or a knob is asked for."""
        return self.label is not None or bool(self.knobs)

    @model_serializer(mode="wrap")
    def _what_is_asked(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        if not self.asks:
            values = {name: value for name, value in values.items() if name not in ("guidance", "best_of")}
        return {name: value for name, value in values.items() if name not in _WITHOUT or value != _WITHOUT[name]}

    @property
    def config(self) -> SamplingConfig:
        """How codes are chosen.

        Raises:
            UsageError: a value is out of its range.
        """
        return SamplingConfig(self.temperature, self.top_k, self.top_p, self.min_p)

    def check(self, *, count: int, seed: int) -> None:
        """Make sure that so many sounds with seeds from `seed` on can be asked for; no model is needed for that.

        Raises:
            UsageError: a number is out of its range.
        """
        check_request(count=count, seconds=1.0 if self.seconds is None else self.seconds, seed=seed)
        if self.strength == 0 and count > 1:
            raise UsageError(
                f"at strength 0 all {count} sounds would be the same: ask for one sound, or raise the strength"
            )
        # Which cells a variation renews is a matter of the seed.
        if self.config.greedy and count > 1 and self.action != "vary":
            raise UsageError(
                f"without chance (temperature 0 or top-k 1) all {count} sounds would be the same: ask for one "
                "sound, or raise temperature or top-k"
            )


def request_of(values: Mapping[str, Any]) -> Request:
    """A request of settings by name.

    Raises:
        UsageError: they are none.
    """
    try:
        return Request.model_validate(values)
    except ValidationError as error:
        raise UsageError(explain(error, Request)) from error
