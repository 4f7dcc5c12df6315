"""Which array of an HDF5 file is the volume, whether all of it is there, and what a file may name beside itself."""

from __future__ import annotations

import shutil
from contextlib import contextmanager

import h5py
import hdf5plugin
import numpy as np
import pytest

from ps3d_core.errors import InputError
from ps3d_core.memory_model import SLABS_BYTES
from ps3d_core.params import SourceParams
from ps3d_core.scan.sources import open_scan
from tests.formats.file_format import SPACING
from tests.formats.hdf5 import write_nexus

VOXELS = np.arange(10 * 12 * 14, dtype=np.uint16).reshape(10, 12, 14)


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "scans"
    inside.mkdir()
    return inside


@contextmanager
def written(path, **options):
    with h5py.File(path, "w", **options) as file:
        yield file


def plain(path, values=VOXELS):
    with written(path) as file:
        file["v"] = values
    return path


def read(source, **params):
    with open_scan(str(source), SourceParams(**params)) as reader:
        return reader.read(0, reader.shape[0])


def opened(source, **params):
    with open_scan(str(source), SourceParams(**params)) as reader:
        return reader


def refused(source, match, **params):
    with pytest.raises(InputError, match=match) as error:
        open_scan(str(source), SourceParams(**params)).close()
    assert "\n" not in str(error.value)


class TestWhichArray:
    def test_the_only_volume_among_other_arrays(self, folder):
        with written(folder / "a.h5") as file:
            file["volume"] = VOXELS
            file["matrices"] = np.zeros((2, 3, 3))
            file["picture"] = np.zeros((10, 12, 3), np.uint8)
            file["slice"] = np.zeros((1, 12, 14))
            file["angles"] = np.zeros(5)
            file["names"] = ["one", "two"]
            file["complex"] = VOXELS + 1j
            file["type"] = np.dtype("f4")
        assert np.array_equal(read(folder / "a.h5"), VOXELS)

    def test_one_of_several_is_chosen(self, folder):
        with written(folder / "a.h5") as file:
            file["one/v"] = VOXELS
            file["two/v"] = VOXELS + 1
            file["again"] = file["one/v"]
            file["soft"] = h5py.SoftLink("/two/v")
        path = folder / "a.h5"
        refused(path, r"2 volumes: /again \(10, 12, 14\), /two/v \(10, 12, 14\); choose one with inside, like /a")
        refused(path, r"nothing at /none; there is .*/two/v", inside="/none")
        for chosen in ("/two/v", "/two", "/soft"):
            assert np.array_equal(read(f"{path}:{chosen}"), VOXELS + 1)
        assert np.array_equal(read(path, inside="/again"), VOXELS)

    def test_what_nexus_shows_first(self, folder):
        path = write_nexus(folder, VOXELS, SPACING)
        with h5py.File(path, "a") as file:
            file["other"] = VOXELS + 1
        assert np.array_equal(read(path), VOXELS)
        with h5py.File(path, "a") as file:
            del file.attrs["default"]
        refused(path, "2 volumes")
        with h5py.File(path, "a") as file:
            file.attrs["default"] = "nowhere"
        refused(path, "2 volumes")

    def test_axes_of_length_1_are_left_out(self, folder):
        assert np.array_equal(read(plain(folder / "a.h5", VOXELS[None])), VOXELS)
        assert np.array_equal(read(plain(folder / "b.h5", VOXELS[:, None, ..., None])), VOXELS)
        assert np.array_equal(read(plain(folder / "c.h5", VOXELS[:, :, :1]), inside="/v"), VOXELS[:, :, :1])
        refused(plain(folder / "d.h5", np.stack([VOXELS, VOXELS])), r"no volume in it; there is /v \(2, 10, 12, 14\)")
        refused(folder / "d.h5", "4-dimensional", inside="/v")

    def test_projections_are_no_volume(self, folder):
        path = folder / "exchange.h5"
        with written(path) as file:
            file["exchange/data"] = VOXELS
            file["exchange/theta"] = np.arange(10.0)
            file["exchange/data_white"] = file["exchange/data_dark"] = VOXELS[:4]
        refused(path, "/exchange/data .*: projections, which are not yet a volume")
        reader = opened(path, inside="/exchange/data")
        assert any("these are projections" in note for note in reader.notes)
        with h5py.File(path, "a") as file:
            file["exchange/recon"] = VOXELS + 1
        assert np.array_equal(read(path), VOXELS + 1)
        assert opened(path).notes == ()

    def test_projections_of_nexus(self, folder):
        path = folder / "tomo.nxs"
        with written(path) as file:
            file.attrs["default"] = "entry"
            file["entry/instrument/detector/data"] = VOXELS
            file["entry/instrument/detector/image_key"] = np.zeros(10, int)
            file["entry/data"] = h5py.SoftLink("/entry/instrument/detector")
        refused(path, "projections")

    @pytest.mark.parametrize(
        ("values", "match"),
        [
            (VOXELS > 3, "of type bool"),
            (VOXELS + 1j, "of type complex128"),
            (VOXELS[0], "2-dimensional"),
            (VOXELS[:1], "at least 2 slices"),
            (VOXELS[:0], "an axis without voxels"),
            (np.zeros((10, 12, 3), np.uint8), "RGB"),
        ],
    )
    def test_no_grey_volume(self, folder, values, match):
        refused(plain(folder / "a.h5", values), "no volume in it")
        refused(folder / "a.h5", match, inside="/v")

    def test_an_empty_file(self, folder):
        with written(folder / "a.h5") as file:
            file["none"] = h5py.Empty("f")
        refused(folder / "a.h5", "there are no arrays")
        refused(folder / "a.h5", "an axis without voxels|0-dimensional", inside="/none")

    @pytest.mark.parametrize("dtype", [">u2", "<i4", "i8", "u8", "f2", ">f8"])
    def test_types(self, folder, dtype):
        values = VOXELS.astype(dtype)
        back = read(plain(folder / "a.h5", values))
        assert np.array_equal(back, values)
        assert back.dtype == np.dtype(dtype).newbyteorder("=")

    def test_enumerated_numbers(self, folder):
        with written(folder / "a.h5") as file:
            file.create_dataset("v", data=VOXELS % 3, dtype=h5py.enum_dtype({"air": 0, "ore": 1, "else": 2}, "u1"))
        assert np.array_equal(read(folder / "a.h5"), VOXELS % 3)

    def test_what_stored_numbers_stand_for_is_said(self, folder):
        with h5py.File(plain(folder / "a.h5"), "a") as file:
            file["v"].attrs["scale_factor"], file["v"].attrs["add_offset"] = 0.5, 0
        assert opened(folder / "a.h5").notes == (
            "its attributes say scale_factor 0.5, which are not applied: voxels are taken as they are stored",
        )


class TestSpacing:
    def nexus(self, folder, unit="mm", **positions):
        path = write_nexus(folder, VOXELS, SPACING)
        with h5py.File(path, "a") as file:
            for axis in "zyx":
                group = file["entry/data"]
                if axis in positions:
                    del group[axis]
                    group[axis] = positions[axis]
                group[axis].attrs["units"] = unit
        return opened(path)

    @pytest.mark.parametrize(("unit", "mm"), [("um", 1e-3), ("Microns", 1e-3), ("µm", 1e-3), ("m", 1e3), ("nm", 1e-6)])
    def test_units(self, folder, unit, mm):
        reader = self.nexus(folder, unit)
        assert reader.spacing == pytest.approx([side * mm for side in SPACING])
        assert reader.spacing_from == "axes of the dataset"

    def test_no_unit_of_length(self, folder):
        assert self.nexus(folder, "voxels").notes == ()
        assert "not a unit of length" in self.nexus(folder, "furlong").spacing_doubt

    def test_positions(self, folder):
        far = (1000 + np.arange(10) * 0.65).astype("f4")
        assert self.nexus(folder, z=far).spacing[0] == pytest.approx(0.65, rel=1e-9)
        assert self.nexus(folder, z=np.arange(11) * 0.5).spacing[0] == 0.5  # edges of voxels
        assert self.nexus(folder, z=-np.arange(10) * 0.5).spacing[0] == 0.5
        for wrong in (np.arange(10) ** 2, np.zeros(10), np.arange(9), np.full(10, np.nan)):
            assert "not even" in self.nexus(folder, z=wrong).spacing_doubt

    def test_order_of_axes_is_said(self, folder):
        path = write_nexus(folder, VOXELS, SPACING)
        with h5py.File(path, "a") as file:
            group = file["entry/data"]
            group.attrs["axes"] = ["x", "y", "z"]
            del group["x"], group["z"]
            group["x"], group["z"] = np.arange(10) * 0.1, np.arange(14) * 0.3
            group["x"].attrs["units"] = group["z"].attrs["units"] = "mm"
        reader = opened(path)
        assert reader.spacing == pytest.approx((0.1, SPACING[1], 0.3))
        assert "its axes are x, y, z in this order" in reader.notes[0]

    def test_axes_of_old(self, folder):
        with written(folder / "a.h5") as file:
            file["g/v"] = VOXELS
            file["g/v"].attrs["axes"] = "z:y:x"
            for axis, length in zip("zyx", VOXELS.shape, strict=True):
                file[f"g/{axis}"] = np.arange(length) * 2.0
                file[f"g/{axis}"].attrs["units"] = "um"
        assert opened(folder / "a.h5").spacing == (0.002, 0.002, 0.002)

    def test_pixel_sizes_beside(self, folder):
        with h5py.File(plain(folder / "a.h5"), "a") as file:
            for axis, side in zip("xy", (6.5, 6.0), strict=True):
                file[f"{axis}_pixel_size"] = side
                file[f"{axis}_pixel_size"].attrs["units"] = "um"
        assert "not the step between them" in opened(folder / "a.h5").spacing_doubt
        with h5py.File(folder / "a.h5", "a") as file:
            file["z_pixel_size"] = [7.0]
            file["z_pixel_size"].attrs["units"] = "um"
        assert opened(folder / "a.h5").spacing == (0.007, 0.006, 0.0065)
        with h5py.File(folder / "a.h5", "a") as file:
            file["z_pixel_size"][0] = -7
        assert "above 0" in opened(folder / "a.h5").spacing_doubt

    def test_element_size_um(self, folder):
        with h5py.File(plain(folder / "a.h5"), "a") as file:
            file["v"].attrs["element_size_um"] = [3, 2, 1.5]
        assert opened(folder / "a.h5").spacing == (0.003, 0.002, 0.0015)

    def test_nabu(self, folder):
        options = "entry0000/reconstruction/configuration/processing_options/reconstruction"
        with written(folder / "a.hdf5") as file:
            file["entry0000/reconstruction/results/data"] = VOXELS
            file[f"{options}/pixel_size_cm"] = 1e-4
        assert "none of the voxels" in opened(folder / "a.hdf5").spacing_doubt
        with h5py.File(folder / "a.hdf5", "a") as file:
            file[f"{options}/voxel_size_cm"] = [1e-4, 2e-4, 3e-4]
        assert opened(folder / "a.hdf5").spacing == (0.003, 0.002, 0.001)


class TestNotAllIsThere:
    def test_chunks_that_were_never_written(self, folder):
        with written(folder / "a.h5") as file:
            file.create_dataset("v", VOXELS.shape, "u2", chunks=(2, 12, 14))[:4] = VOXELS[:4]
            file.create_dataset("w", VOXELS.shape, "u2")
        refused(folder / "a.h5", "3 of 5 chunks were never written", inside="/v")
        refused(folder / "a.h5", "no voxel was ever written", inside="/w")

    def test_chunks_beyond_memory(self, folder):
        shape = (SLABS_BYTES // 2**20 + 1, 1024, 1024)
        with written(folder / "a.h5") as file:
            file.create_dataset("v", shape, "u1", chunks=shape, compression="gzip")
        refused(folder / "a.h5", "GiB each; at most 4 GiB")

    def test_filters_that_are_not_read(self, folder):
        with written(folder / "a.h5") as file:
            file.create_dataset("v", data=VOXELS.astype("f4"), chunks=(5, 12, 14), **hdf5plugin.SZ3(absolute=0.1))
        refused(folder / "a.h5", r"compressed with filter 32024 .* like h5repack")

    @pytest.mark.parametrize("packing", [hdf5plugin.Bitshuffle(cname="zstd"), hdf5plugin.LZ4()], ids=["bit", "lz4"])
    def test_a_damaged_chunk_does_not_end_the_process(self, folder, packing):
        with written(folder / "a.h5") as file:
            file.create_dataset("v", data=VOXELS, chunks=(5, 12, 14), **packing)
            info = file["v"].id.get_chunk_info(1)
        content = (folder / "a.h5").read_bytes()
        assert np.array_equal(read(folder / "a.h5"), VOXELS)
        same = 0
        for place in (0, 8, 12):  # length unpacked, length of a block, length of the first block packed
            for value in (b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff"):
                at = info.byte_offset + place
                (folder / "a.h5").write_bytes(content[:at] + value + content[at + 4 :])
                with open_scan(str(folder / "a.h5")) as reader:
                    assert np.array_equal(reader.read(0, 5), VOXELS[:5])
                    try:
                        values = reader.read(4, 6)
                    except InputError as error:
                        assert "the chunk at (5, 0, 0) is damaged" in str(error)  # noqa: PT017
                    else:  # it was so before, or a block longer than its chunk, which means the same
                        assert np.array_equal(values, VOXELS[4:6])
                        same += 1
        assert same <= 3

    @pytest.mark.parametrize("after", [{}, {"fletcher32": True}])
    def test_bitshuffle_with_a_rest_and_a_checksum(self, folder, after):
        with written(folder / "a.h5") as file:
            packing = hdf5plugin.Bitshuffle(nelems=64, cname="lz4")
            file.create_dataset("v", data=VOXELS, chunks=(7, 3, 5), **packing, **after)
        assert np.array_equal(read(folder / "a.h5"), VOXELS)

    def test_a_wrong_checksum(self, folder):
        with written(folder / "a.h5") as file:
            file.create_dataset("v", data=VOXELS, chunks=(5, 12, 14), fletcher32=True)
            info = file["v"].id.get_chunk_info(0)
        content = bytearray((folder / "a.h5").read_bytes())
        content[info.byte_offset + 7] ^= 1
        (folder / "a.h5").write_bytes(content)
        with open_scan(str(folder / "a.h5")) as reader, pytest.raises(InputError, match="damaged"):
            reader.read(0, 3)

    def test_texts_without_an_end(self, folder):
        path = write_nexus(folder, VOXELS, SPACING)
        content = path.read_bytes()
        at = content.index(b"GCOL") + 16
        for damage in (bytes(16), b"\1\0" + bytes(6) + b"\xff" * 8):  # free and of no length, or longer than all
            path.write_bytes(content[:at] + damage + content[at + 16 :])
            refused(path, "its texts have no end")

    def test_no_hdf5(self, folder):
        (folder / "a.h5").write_bytes(b"hello" * 1000)
        refused(folder / "a.h5", "not an HDF5 file")
        (folder / "b.hdf").write_bytes(b"\x0e\x03\x13\x01" + bytes(1000))
        refused(folder / "b.hdf", "an HDF4 file, .* convert it with h4toh5")

    def test_still_being_written(self, folder):
        with written(folder / "a.h5", libver="latest") as file:
            file["v"] = VOXELS
            file.flush()
            file.swmr_mode = True
            shutil.copy(folder / "a.h5", folder / "b.h5")
        refused(folder / "b.h5", "still being written, or was not closed")


class TestOtherFiles:
    @pytest.mark.parametrize("name", ["../outside.h5", "link.h5", "sub/../../outside.h5"])
    def test_links_do_not_lead_out_of_the_folder(self, folder, name):
        plain(folder.parent / "outside.h5")
        (folder / "sub").mkdir()
        (folder / "link.h5").symlink_to(folder.parent / "outside.h5")
        with written(folder / "a.h5") as file:
            file["v"] = h5py.ExternalLink(name, "/v")
            file["soft"] = h5py.SoftLink("/v")
        for inside in (None, "/v", "/soft"):
            refused(folder / "a.h5", "external link /v leads out of the folder", inside=inside)

    def test_an_absolute_link_is_taken_for_a_file_beside(self, folder):
        plain(folder.parent / "outside.h5")
        with written(folder / "a.h5") as file:
            file["v"] = h5py.ExternalLink(str(folder.parent / "outside.h5"), "/v")
        refused(folder / "a.h5", "names .*outside.h5', which is not there")
        plain(folder / "outside.h5", VOXELS + 1)
        assert np.array_equal(read(folder / "a.h5"), VOXELS + 1)

    def test_links_in_the_folder(self, folder):
        (folder / "sub").mkdir()
        plain(folder / "sub/data.h5")
        with written(folder / "a.h5") as file:
            file["entry/v"] = h5py.ExternalLink("sub/data.h5", "/v")
        assert [file.name for file in opened(folder / "a.h5").beside] == ["data.h5"]
        assert np.array_equal(read(folder / "a.h5"), VOXELS)

    def test_a_link_to_nowhere_beside_a_volume_is_said(self, folder):
        with written(folder / "a.h5") as file:
            file["v"] = VOXELS
            file["w"] = h5py.ExternalLink("gone.h5", "/v")
            file["x"] = h5py.SoftLink("/gone")
        assert "a link in it was not followed" in opened(folder / "a.h5").notes[0]

    def test_links_in_a_circle(self, folder):
        with written(folder / "a.h5") as file:
            file["a"], file["b"] = h5py.SoftLink("/b"), h5py.SoftLink("/a")
            file["g/up"] = h5py.SoftLink("/")
            file["self"] = h5py.ExternalLink("a.h5", "/")
        refused(folder / "a.h5", "there are no arrays")
        refused(folder / "a.h5", "nothing at /a", inside="/a")

    def test_raw_storage_elsewhere(self, folder):
        (folder / "raw.bin").write_bytes(VOXELS.tobytes())
        with written(folder / "a.h5") as file:
            file.create_dataset("v", VOXELS.shape, "u2", external=[("raw.bin", 0, h5py.h5f.UNLIMITED)])
        refused(folder / "a.h5", "its voxels lie in other files, 'raw.bin'")


def virtual(path, *sources, stop=10, dset="v"):
    """Slices in turn from each of the sources."""
    layout = h5py.VirtualLayout(VOXELS.shape, "u2")
    for first, source in enumerate(sources):
        slices = range(first, stop, len(sources))
        shape = VOXELS[first :: len(sources)].shape
        layout[first : stop : len(sources)] = h5py.VirtualSource(source, dset, shape)[: len(slices)]
    with written(path, libver="latest") as file:
        file.create_virtual_dataset("v", layout, fillvalue=7)
    return path


class TestVirtual:
    def test_sources_in_the_folder(self, folder):
        plain(folder / "even.h5", VOXELS[::2])
        plain(folder / "odd.h5", VOXELS[1::2])
        assert np.array_equal(read(virtual(folder / "a.h5", "even.h5", "odd.h5")), VOXELS)
        assert np.array_equal(read(virtual(folder / "b.h5", "a.h5")), VOXELS)
        assert [file.name for file in opened(folder / "b.h5").beside] == ["a.h5", "even.h5", "odd.h5"]
        absolute = virtual(folder / "c.h5", str(folder / "even.h5"), str(folder / "odd.h5"))
        assert np.array_equal(read(absolute), VOXELS)

    def test_what_is_not_covered(self, folder):
        plain(folder / "even.h5", VOXELS[::2])
        plain(folder / "odd.h5", VOXELS[1::2])
        refused(virtual(folder / "a.h5", "even.h5", "odd.h5", stop=9), "do not cover it all")

    def test_sources_outside(self, folder):
        outside = plain(folder.parent / "outside.h5")
        (folder / "link.h5").symlink_to(outside)
        for name in ("../outside.h5", "link.h5"):
            refused(virtual(folder / "a.h5", name), "its virtual source leads out of the folder")
        plain(folder / "outside.h5")
        refused(virtual(folder / "a.h5", str(outside)), "its virtual source leads out of the folder")
        with written(folder / "linked.h5") as file:
            file["v"] = h5py.ExternalLink("outside.h5", "/v")
        refused(virtual(folder / "a.h5", "linked.h5"), "behind a link to another file")

    def test_sources_that_lack_something(self, folder):
        refused(virtual(folder / "a.h5", "gone.h5"), "names 'gone.h5', which is not there")
        plain(folder / "short.h5", VOXELS[:9])
        refused(virtual(folder / "a.h5", "short.h5"), r"\(9, 12, 14\), of which a virtual dataset needs \(10, 12, 14\)")
        refused(virtual(folder / "a.h5", "short.h5", dset="w"), "not there, but a virtual dataset needs it")
        with written(folder / "holes.h5") as file:
            file.create_dataset("v", VOXELS.shape, "u2", chunks=(2, 12, 14))[:4] = VOXELS[:4]
        refused(virtual(folder / "a.h5", "holes.h5"), "3 of 5 chunks were never written")

    def test_in_itself(self, folder):
        refused(virtual(folder / "a.h5", "a.h5"), "nested 4 deep")

    def test_a_pattern_of_files(self, folder):
        layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        space = h5py.h5s.create_simple((10, 12, 14), (h5py.h5s.UNLIMITED, 12, 14))
        space.select_hyperslab((0, 0, 0), (h5py.h5s.UNLIMITED, 1, 1), (1, 1, 1), (1, 12, 14))
        layout.set_virtual(space, b"part%b.h5", b"v", h5py.h5s.create_simple((1, 12, 14)))
        plain(folder / "part0.h5", VOXELS[:1])
        plain(folder / "part1.h5", VOXELS[1:2])
        with written(folder / "a.h5", libver="latest") as file:
            space.select_all()
            h5py.h5d.create(file.id, b"v", h5py.h5t.NATIVE_UINT16, space, layout)
        refused(folder / "a.h5", "is a pattern, which is not read")


class TestSlicePerFile:
    def files(self, folder, parts, path="entry/data"):
        for index, values in enumerate(parts):
            with written(folder / f"part_{index}.h5") as file:
                file[path] = values

    def test_slabs_of_different_depths(self, folder):
        self.files(folder, [VOXELS[:4], VOXELS[4:8], VOXELS[8:9, None], VOXELS[9]])
        assert np.array_equal(read(folder), VOXELS)
        with open_scan(str(folder)) as reader:
            assert np.array_equal(reader.read(3, 9), VOXELS[3:9])
            assert reader.description == "4 HDF5 files, part_0.h5 to part_3.h5"

    def test_natural_order(self, folder):
        self.files(folder, [np.full((12, 14), value) for value in range(12)])
        assert read(folder)[:, 0, 0].tolist() == list(range(12))
        (folder / "part_5.h5").unlink()
        refused(folder, "slice 5 is missing")
        assert len(read(folder, allow_gaps=True)) == 11

    def test_all_are_alike(self, folder):
        self.files(folder, [VOXELS[0], VOXELS[1, :5]])
        refused(folder, r"slices of \(5, 14\) uint16; must be \(12, 14\) uint16")
        self.files(folder, [VOXELS[0], VOXELS[1].astype("i4")])
        refused(folder, "slices of .* int32; must be")
        with written(folder / "part_1.h5") as file:
            file["other"] = VOXELS[1]
        refused(folder, "no dataset at /entry/data, as in part_0.h5")

    def test_which_array(self, folder):
        for index in range(3):
            with written(folder / f"part_{index}.h5") as file:
                file["a"], file["b"] = VOXELS[index], VOXELS[index] + 1
        refused(folder, r"2 volumes: /a \(12, 14\), /b \(12, 14\); choose one with inside")
        assert np.array_equal(read(folder, inside="/b"), VOXELS[:3] + 1)

    def test_one_file_in_a_folder(self, folder):
        plain(folder / "a.h5")
        assert np.array_equal(read(folder), VOXELS)

    def test_slices_of_other_formats_come_first(self, folder):
        import tifffile

        plain(folder / "about.h5")
        for index in range(3):
            tifffile.imwrite(folder / f"s{index}.tif", VOXELS[index])
        assert np.array_equal(read(folder), VOXELS[:3])


def test_from_a_store_links_are_not_followed(folder):
    import fsspec

    plain(folder / "data.h5")
    with written(folder / "a.h5") as file:
        file["v"] = h5py.ExternalLink("data.h5", "/v")
    store = fsspec.filesystem("memory")
    for name in ("data.h5", "a.h5"):
        store.pipe_file(f"/hdf5-links/{name}", (folder / name).read_bytes())
    refused("memory://hdf5-links/a.h5", "read from folders only; copy it to one")
    assert np.array_equal(read("memory://hdf5-links/data.h5:/v"), VOXELS)
    store.rm("/hdf5-links", recursive=True)
