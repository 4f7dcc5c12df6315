"""What a phantom looks like: one frozen, validated description that fixes every voxel.

Grey values are given on a neutral scale where 0 is nothing and about 1 the brightest material; `grey_range` maps that
scale to the units of the scan's dtype last of all, so that one description serves uint8, uint16 and float32.
Lengths are voxels unless a field says otherwise.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ps3d_core.geometry.boxes import Shape

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Family = Literal["training", "held-out", "wide", "dem"]
"""Which ranges a random phantom is drawn from, see `variety`."""
FAMILIES: Final[tuple[Family, ...]] = get_args(Family)
Dtype = Literal["uint8", "uint16", "float32"]

_DEFAULT_RANGE: dict[str, tuple[float, float]] = {
    "uint8": (10.0, 235.0),
    "uint16": (1000.0, 30000.0),
    "float32": (0.0, 1.0),
}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Mineral(_Frozen):
    """One material that particles are made of."""

    grey: float = Field(0.6, ge=0.0, le=4.0, description="mean grey value")
    weight: float = Field(1.0, gt=0.0, le=1e3, description="share of the particles, relative to the other minerals")
    texture: float = Field(0.02, ge=0.0, le=0.5, description="amplitude of the grey texture inside a particle")


class Tube(_Frozen):
    """A cylindrical wall that holds the particles, along z or tilted; outside of it there is air."""

    radius_voxels: float = Field(gt=2.0, le=1e6, description="inner radius")
    wall_voxels: float = Field(8.0, gt=0.0, le=1e5, description="thickness of the wall")
    centre_offset_voxels: tuple[float, float] = Field((0.0, 0.0), description="axis minus centre of the volume, (y, x)")
    grey: float = Field(0.8, ge=0.0, le=4.0, description="grey value of the wall")
    rim: float = Field(0.0, ge=-2.0, le=2.0, description="grey added at the outer face, fading inwards")
    tilt: tuple[float, float] = Field((0.0, 0.0), description="shift of the axis per slice, (y, x)")


class Wall(_Frozen):
    """A flat wall with particles on its inner side and air on the outer; several make a box."""

    normal: tuple[float, float, float] = Field(description="direction from the particles to the air, (z, y, x)")
    offset_voxels: float = Field(
        ge=-1e6, le=1e6, description="distance of the inner face from the centre of the volume, along the normal"
    )
    wall_voxels: float = Field(8.0, gt=0.0, le=1e5, description="thickness of the wall")
    grey: float = Field(0.8, ge=0.0, le=4.0, description="grey value of the wall")
    rim: float = Field(0.0, ge=-2.0, le=2.0, description="grey added at the outer face, fading inwards")

    @model_validator(mode="after")
    def _directed(self) -> Self:
        if not any(self.normal):
            raise ValueError(f"normal {self.normal}: must have a length")
        return self


class PhantomParams(_Frozen):
    """A phantom, completely: equal parameters give equal bytes."""

    shape: Shape = Field(description="voxels, (z, y, x)")
    particle_size_voxels: float = Field(
        20.0, ge=3.0, le=1000.0, description="arithmetic mean of the particles' equivalent sphere diameters"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="another seed, another phantom")
    dtype: Dtype = Field("uint16", description="type of the grey values")

    # arrangement
    size_sigma: float = Field(0.3, ge=0.0, le=0.7, description="standard deviation of ln(diameter)")
    fill_fraction: float = Field(0.45, ge=0.005, le=0.68, description="volume of the particles / volume they are in")
    contact: float = Field(
        0.05, ge=-0.5, le=0.3, description="how deep touching particles are pressed into each other / radius"
    )
    cohesion: Fraction = Field(0.5, description="share of near neighbours that are pulled into contact")
    gap_fraction: Fraction = Field(0.3, description="share of the contacts with a thin dark gap")
    gap_voxels: float = Field(0.6, ge=0.0, le=4.0, description="width of these gaps")
    neck_fraction: Fraction = Field(0.0, description="share of the contacts that are sintered: filled by a neck")
    neck: float = Field(0.3, ge=0.0, le=1.0, description="size of these necks / radius")
    relaxation_steps: int = Field(36, ge=11, le=2000, description="turns in which particles are pushed apart")
    contact_model: Literal["centres", "ellipsoids"] = Field(
        "centres",
        description="where two particles touch: on the line between their centres, or as ellipsoids do, which long and "
        "flat particles need",
    )

    # shapes
    angular_fraction: Fraction = Field(0.6, description="share of faceted particles; the rest is rounded")
    facets: tuple[int, int] = Field((7, 14), description="fewest and most facets of a faceted particle, 4 to 16")
    edge_rounding: float = Field(0.12, ge=0.0, le=0.6, description="radius of rounded edges / particle radius")
    rounded_cuts: int = Field(4, ge=0, le=16, description="most facets of a rounded particle; 0 leaves ellipsoids")
    elongation: float = Field(1.5, ge=1.0, le=8.0, description="largest ratio of longest to middle axis")
    flatness: float = Field(1.4, ge=1.0, le=8.0, description="largest ratio of middle to shortest axis")
    least_aspect: Fraction = Field(
        0.0, description="where the range of these ratios begins: 0 at round particles, 1 has all as long and flat"
    )
    lumpiness: float = Field(0.08, ge=0.0, le=0.4, description="height of dents and bulges / particle radius")
    roughness_voxels: float = Field(0.3, ge=0.0, le=2.0, description="height of the fine surface roughness")

    # inside of particles
    minerals: tuple[Mineral, ...] = Field((Mineral(grey=0.6, weight=1.0, texture=0.02),), min_length=1, max_length=8)
    grey_variation: float = Field(0.02, ge=0.0, le=0.5, description="spread of the particles' mean grey")
    texture_voxels: float = Field(2.5, ge=1.0, le=100.0, description="size of the fine texture")
    grain_voxels: float = Field(7.0, ge=1.5, le=500.0, description="size of the coarse texture and intergrowths")
    composite_fraction: Fraction = Field(0.1, description="share of particles made of two minerals")
    inclusion_fraction: Fraction = Field(0.2, description="share of particles with bright inclusions")
    inclusion_grey: float = Field(0.3, ge=0.0, le=4.0, description="grey value of inclusions above their host's")
    pore_fraction: Fraction = Field(0.1, description="share of particles with pores (grey of the background)")
    inclusion_radius: float = Field(0.12, gt=0.0, le=0.4, description="largest inclusion or pore / particle diameter")
    crack_fraction: Fraction = Field(0.08, description="share of particles with a crack")
    crack_voxels: float = Field(0.6, ge=0.0, le=4.0, description="largest width of cracks")
    rim: float = Field(0.0, ge=-0.5, le=0.5, description="grey added at a particle's surface, fading inwards")

    # what is around them
    background_grey: float = Field(0.2, ge=0.0, le=4.0, description="epoxy, or air, between the particles")
    background_texture: float = Field(0.0, ge=0.0, le=0.5, description="amplitude of the background's texture")
    bubble_density: Fraction = Field(0.0, description="how much of the epoxy is peppered with air bubbles")
    air_grey: float = Field(0.1, ge=0.0, le=4.0, description="grey value outside the tube and in bubbles")
    tube: Tube | None = None
    walls: tuple[Wall, ...] = Field((), max_length=6, description="flat walls; particles lie on the inner side of all")
    fov_radius_voxels: float | None = Field(
        None, gt=1.0, le=1e6, description="circular field of view around the rotation axis; exactly 0 outside"
    )
    axis_offset_voxels: tuple[float, float] = Field(
        (0.0, 0.0), description="rotation axis minus centre of the volume, (y, x)"
    )

    # scanner
    blur_voxels: float = Field(0.7, ge=0.0, le=3.0, description="standard deviation of the point spread function")
    sharpening: float = Field(0.0, ge=0.0, le=1.0, description="overshoot at edges (phase contrast, sharp filters)")
    noise: float = Field(0.03, ge=0.0, le=1.0, description="standard deviation of the noise in the background")
    noise_correlated: Fraction = Field(0.5, description="share of the noise's variance that is correlated")
    noise_correlation_voxels: float = Field(0.8, ge=0.3, le=3.0, description="standard deviation of the correlation")
    noise_with_grey: float = Field(0.0, ge=0.0, le=4.0, description="growth of the noise's variance per unit of grey")
    rings: float = Field(0.0, ge=0.0, le=1.0, description="amplitude of the strongest ring artefacts")
    ring_voxels: float = Field(1.5, ge=0.5, le=20.0, description="width of the rings")
    ring_arc: Fraction = Field(1.0, description="share of the full circle that a ring covers")
    streaks: float = Field(0.0, ge=0.0, le=1.0, description="amplitude of the streaks at what they come from")
    streak_sources: int = Field(4, ge=1, le=32, description="places that streaks come from, in and around the volume")
    ghost: float = Field(0.0, ge=0.0, le=0.5, description="share of a second, shifted image, as motion leaves it")
    ghost_shift: tuple[int, int, int] = Field((0, 0, 0), description="shift of that image, voxels (z, y, x)")
    cupping: float = Field(0.0, ge=-0.8, le=0.8, description="relative rise of grey from the axis to the border")
    gradient: tuple[float, float, float] = Field(
        (0.0, 0.0, 0.0), description="relative change of grey over the volume, per axis (z, y, x)"
    )
    shading: float = Field(0.0, ge=0.0, le=0.5, description="amplitude of slow, irregular changes of grey")
    shading_voxels: float = Field(60.0, ge=8.0, le=1e5, description="size of these changes")
    grey_range: tuple[float, float] | None = Field(
        None, description="values of the dtype for grey 0 and grey 1; default depends on the dtype"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if min(self.shape) < 1 or max(self.shape) > 1_000_000:
            raise ValueError(f"shape {self.shape}: each axis must have 1 to 1000000 voxels")
        low, high = self.facets
        if not 4 <= low <= high <= 16:
            raise ValueError(f"facets {self.facets}: must be (fewest, most) within 4 to 16")
        if max(map(abs, self.ghost_shift)) > 32:
            raise ValueError(f"ghost shift {self.ghost_shift}: each component must be within -32 to 32")
        if self.tube is not None and max(map(abs, self.tube.tilt)) > 1:
            raise ValueError(f"tube tilt {self.tube.tilt}: each component must be within -1 to 1")
        if any(abs(g) > 1 for g in self.gradient):
            raise ValueError(f"gradient {self.gradient}: each component must be within -1 to 1")
        if self.grey_range is not None and not self.grey_range[0] < self.grey_range[1]:
            raise ValueError(f"grey range {self.grey_range}: the first value must be below the second")
        return self

    @property
    def grey_limits(self) -> tuple[float, float]:
        """Values of the dtype for grey 0 and grey 1."""
        return self.grey_range if self.grey_range is not None else _DEFAULT_RANGE[self.dtype]

    @property
    def centre(self) -> tuple[float, float, float]:
        """Centre of the volume in voxel coordinates (voxel centres are whole numbers)."""
        z, y, x = self.shape
        return (z - 1) / 2, (y - 1) / 2, (x - 1) / 2

    @property
    def axis(self) -> tuple[float, float]:
        """Rotation axis (y, x) in voxel coordinates."""
        _, y, x = self.centre
        return y + self.axis_offset_voxels[0], x + self.axis_offset_voxels[1]

    @property
    def tube_axis(self) -> tuple[float, float]:
        """Axis of the tube (y, x) in voxel coordinates; that of the volume where there is no tube."""
        _, y, x = self.centre
        offset = self.tube.centre_offset_voxels if self.tube else (0.0, 0.0)
        return y + offset[0], x + offset[1]
