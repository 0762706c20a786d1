"""What all sections of an experiment file keep to, and the kinds of number in them."""

from typing import Annotated, Final

from pydantic import ConfigDict, Field

STRICT: Final = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)
"""Known keys only, and no value is coerced."""

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
