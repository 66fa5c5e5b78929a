"""Any picture becomes the RGB that a viewer shows, to the right value; what can't be is refused."""

import io
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms, ImageFile, features

from treehead.data import pictures
from treehead.data.pictures import Broken, decode

SIDE = 8
WHITE = 255
RESIZES = ["crop", "pad", "stretch"]
COLOURS = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
AVIF = pytest.param(
    "AVIF", marks=pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
)


def smooth(height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """A picture that lossy formats keep, without symmetry, (height, width, 3)."""
    y, x = np.mgrid[:height, :width]
    planes = [200 * y / height + 20, 200 * x / width + 20, 100 + 50 * (y + x) / (height + width)]
    return np.stack(planes, -1).astype(np.uint8)


def file(image: Image.Image | np.ndarray, form: str, **options) -> bytes:
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def shown(data: bytes, size: int = SIDE, resize: str = "crop") -> np.ndarray:
    """The decoded picture as (size, size, 3) signed integers."""
    return decode(data, size, resize).transpose(1, 2, 0).astype(int)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, depth: int, kind: int, *rows: bytes, **chunks: bytes) -> bytes:
    """A PNG written by hand: bits a sample, colour type (0 grey, 2 RGB, 3 palette, 4, 6 alpha)."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, len(rows), depth, kind, 0, 0, 0))
    extra = b"".join(chunk(name.encode(), data) for name, data in chunks.items())
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + extra + pixels + chunk(b"IEND", b"")


def packed(bits: int, first: int, second: int) -> bytes:
    """A row of two samples."""
    if bits >= 8:
        return first.to_bytes(bits // 8) + second.to_bytes(bits // 8)
    return bytes([first << 8 - bits | second << 8 - 2 * bits])


def tiff(
    data: bytes, bits: list[int], photometric: int, order: str = "<", **more: list[int]
) -> bytes:
    """An uncompressed TIFF of 2 x 2 pixels written by hand; `more` has the names of ExifTags."""
    tags = {256: [2], 257: [2], 258: bits, 259: [1], 262: [photometric], 273: [8]}
    tags |= {277: [len(bits)], 278: [2], 279: [len(data)]}
    tags |= {ExifTags.Base[name]: values for name, values in more.items()}
    table, after = struct.pack(f"{order}H", len(tags)), b""
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}H", *values)
        if len(packed) > 4:
            place = struct.pack(f"{order}I", 8 + len(data) + len(after))
            after, packed = after + packed, place
        table += struct.pack(f"{order}HHI", tag, 3, len(values)) + packed.ljust(4, b"\0")
    start = {"<": b"II*\0", ">": b"MM\0*"}[order]
    offset = struct.pack(f"{order}I", 8 + len(data) + len(after))
    return start + offset + data + after + table + b"\0" * 4


def icc(kind: bytes, space: bytes, pcs: bytes, **tags: bytes) -> bytes:
    """A colour profile of version 2 written by hand."""
    d50 = struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    tags |= {"wtpt": b"XYZ \0\0\0\0" + d50}
    offset, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name.encode() + struct.pack(">II", offset + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    layout = ">I4xI4s4s4s12x4s28x12s48x"
    size = offset + len(body)
    return struct.pack(layout, size, 0x2400000, kind, space, pcs, b"acsp", d50) + table + body


def from_lab(lab: np.ndarray) -> np.ndarray:
    """sRGB of CIE L*a*b* under D50 (..., 3), by the formulas of CIE and IEC 61966-2-1."""
    level, a, b = np.moveaxis(np.asarray(lab, float), -1, 0)
    fy = (level + 16) / 116
    f = np.stack([fy + a / 500, fy, fy - b / 200], -1)
    white = [0.9642, 1, 0.8249]
    xyz = white * np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    to_rgb = [[3.1339, -1.6169, -0.4906], [-0.9788, 1.9161, 0.0335], [0.0719, -0.2290, 1.4052]]
    return encoded(xyz @ np.transpose(to_rgb))


def encoded(linear: np.ndarray) -> np.ndarray:
    """Levels 0..255 of sRGB from linear light in 0..1."""
    linear = np.clip(linear, 0, 1)
    return 255 * np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


# --- Formats ---


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_deflate"}),
        ("PPM", {}),
        ("JPEG2000", {"irreversible": False}),
    ],
)
def test_a_picture_of_the_right_size_keeps_its_pixels_to_the_bit(form, options, resize):
    found = decode(file(COLOURS, form, **options), SIDE, resize)
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    assert (found == COLOURS.transpose(2, 0, 1)).all()


@pytest.mark.parametrize("form", ["JPEG", "WEBP", AVIF])
def test_lossy_formats_decode_to_about_the_same(form):
    picture = smooth(32, 32)
    assert abs(shown(file(picture, form, quality=95), 32) - picture).max() <= 10


def test_a_progressive_jpeg_is_the_baseline_one():
    baseline, progressive = (
        decode(file(smooth(32, 32), "JPEG", progressive=kind), 32, "crop") for kind in (False, True)
    )
    assert (baseline == progressive).all()


def test_a_jpeg_decodes_to_what_pillow_decodes():
    data = file(COLOURS, "JPEG")
    assert (shown(data) == np.asarray(Image.open(io.BytesIO(data)))).all()


@pytest.mark.parametrize("sides", [(1296, 968), (1300, 970)])
def test_a_large_jpeg_may_be_decoded_at_reduced_size_without_a_visible_difference(sides):
    noise = np.random.default_rng(0).integers(0, 256, (121, 162, 3), np.uint8)
    large = Image.fromarray(noise).resize(sides, Image.Resampling.BICUBIC)
    data = file(large, "JPEG", quality=95)
    pixels = np.asarray(Image.open(io.BytesIO(data)))
    for size in (30, 60):
        for resize in RESIZES:
            difference = abs(shown(data, size, resize) - shown(file(pixels, "PPM"), size, resize))
            assert difference.mean() < 0.5
            assert difference.max() <= 5


# --- Palettes, grey, more than 8 bits ---

PALETTE = bytes([200, 10, 30, 40, 250, 60, 70, 80, 190, 5, 110, 120])


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("alpha", [b"", b"\0\x80"])
def test_a_palette_gives_its_colours(bits, alpha):
    """Indices 0, 1 above 1, 0; the colours of tRNS are fully and half transparent."""
    chunks = {"PLTE": PALETTE[: 3 * min(2**bits, 4)]} | ({"tRNS": alpha} if alpha else {})
    data = png(2, bits, 3, packed(bits, 0, 1), packed(bits, 1, 0), **chunks)
    first, second = np.array([200, 10, 30]), np.array([40, 250, 60])
    if alpha:
        first, second = np.full(3, WHITE), np.round(second * 128 / 255 + 255 * 127 / 255)
    assert (shown(data, 2) == [[first, second], [second, first]]).all()


@pytest.mark.parametrize("mode", ["P", "L", "1"])
def test_gif_bmp_and_tiff_of_few_colours_give_them(mode):
    image = Image.fromarray(COLOURS).convert(mode, palette=Image.Palette.ADAPTIVE)
    expected = np.asarray(image.convert("RGB"))
    for form in ("GIF", "BMP", "TIFF", "PNG"):
        assert (shown(file(image, form)) == expected).all(), form


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("transparent", [False, True])
def test_grey_of_any_depth_is_scaled_to_its_own_white(bits, transparent):
    """0 and the highest above the highest and the value that tRNS may name."""
    most, named = 2**bits - 1, 2**bits // 3
    chunks = {"tRNS": struct.pack(">H", named)} if transparent else {}
    data = png(2, bits, 0, packed(bits, 0, most), packed(bits, most, named), **chunks)
    expected = [[0, 255], [255, named * 255 // most]]
    if transparent:
        expected = [[WHITE if named == 0 else 0, 255], [255, WHITE]]
    assert (shown(data, 2) == np.array(expected)[:, :, None]).all()


def test_a_transparent_grey_of_16_bits_is_that_sample_alone():
    data = png(2, 16, 0, b"\x10\x20\x10\x21", b"\x10\x22\0\0", tRNS=b"\x10\x21")
    assert (shown(data, 2)[:, :, 0] == [[0x10, WHITE], [0x10, 0]]).all()


@pytest.mark.parametrize("form", ["PNG", "TIFF", "JPEG2000"])
def test_16_bits_of_grey_are_scaled_and_not_clipped(form):
    samples = np.linspace(0, 65535, SIDE * SIDE).astype(np.uint16).reshape(SIDE, SIDE)
    options = {"irreversible": False} if form == "JPEG2000" else {}
    found = shown(file(samples, form, **options))
    assert (found == (samples // 256)[:, :, None]).all()


def test_16_bits_of_colour_and_of_grey_give_the_same_levels():
    values = [0, 255, 256, 1000, 32767, 32768, 65279, 65535]
    grey = b"".join(struct.pack(">H", value) for value in values)
    colour = b"".join(struct.pack(">HHH", value, value, value) for value in values)
    found = shown(png(SIDE, 16, 2, *[colour] * SIDE))
    assert (found == shown(png(SIDE, 16, 0, *[grey] * SIDE))).all()
    assert found[0, :, 0].tolist() == [value // 256 for value in values]


def test_16_bits_with_alpha_are_composited():
    grey = png(1, 16, 4, struct.pack(">HH", 20000, 0x4000))
    colour = png(1, 16, 6, struct.pack(">HHHH", 20000, 20000, 20000, 0x4000))
    expected = round((20000 // 256 * 0x40 + 255 * (255 - 0x40)) / 255)
    assert (shown(grey, 1) == expected).all()
    assert (shown(colour, 1) == expected).all()


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bits_of_a_tiff_in_both_byte_orders(order):
    data = struct.pack(f"{order}4H", 0, 1000, 40000, 65535)
    assert shown(tiff(data, [16], 1, order=order), 2)[:, :, 0].ravel().tolist() == [0, 3, 156, 255]


def test_a_tiff_whose_zero_is_white():
    data = struct.pack("<4H", 0, 1000, 40000, 65535)
    assert shown(tiff(data, [16], 0), 2)[:, :, 0].ravel().tolist() == [255, 252, 99, 0]
    data = bytes([0, 3, 156, 255])
    assert shown(tiff(data, [8], 0), 2)[:, :, 0].ravel().tolist() == [255, 252, 99, 0]


def test_12_bits_of_a_tiff_have_their_own_white():
    data = bytes([0x00, 0x0F, 0xFF, 0x80, 0x00, 0x10])
    assert shown(tiff(data, [12], 1), 2)[:, :, 0].ravel().tolist() == [0, 255, 128, 1]


@pytest.mark.parametrize("most", [255, 1023, 4095, 65535])
def test_a_pgm_says_its_white(most):
    kind = ">4H" if most > 255 else ">4B"
    data = b"P5 2 2 %d\n" % most + struct.pack(kind, 0, most, most // 2, most // 4)
    expected = np.array([0, 255, 127, 63])
    assert abs(shown(data, 2)[:, :, 0].ravel() - expected).max() <= 1


@pytest.mark.parametrize(
    "data",
    [
        tiff(struct.pack("<4f", 0, 0.5, 1, 200), [32], 1, SampleFormat=[3]),
        tiff(struct.pack("<4I", 0, 5, 2**31, 2**32 - 1), [32], 1),
        tiff(struct.pack("<4h", -1000, 0, 1, 32767), [16], 1, SampleFormat=[2]),
        tiff(struct.pack("<4b", -100, 0, 1, 127), [8], 1, SampleFormat=[2]),
        b"Pf 1 1 -1\n" + struct.pack("<f", 0.5),
    ],
)
def test_samples_whose_white_is_unknown_are_refused(data):
    with pytest.raises(Broken, match=r"^float, signed or 32-bit samples, whose white is unknown;"):
        decode(data, 2, "crop")


def test_a_transparent_colour_of_16_bits_is_refused_since_pillow_loses_its_low_bytes():
    data = png(1, 16, 2, bytes([1, 2, 3, 4, 5, 6]), tRNS=bytes([1, 2, 3, 4, 5, 6]))
    with pytest.raises(Broken, match=r"^a transparent colour of 16 bits, which Pillow can't find;"):
        decode(data, 1, "crop")


# --- Colour spaces and profiles ---

INKS = np.array([[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 255, 0], [0, 0, 0, 255]], np.uint8)


def cmyk(form: str, inks: np.ndarray = INKS, **options) -> bytes:
    """Four inks as squares of 8 px."""
    squares = inks.reshape(2, 2, 4).repeat(8, axis=0).repeat(8, axis=1)
    return file(Image.fromarray(squares, "CMYK"), form, **options)


def squares(data: bytes) -> np.ndarray:
    """The colours in the middle of four squares of 8 px, (4, 3)."""
    return shown(data, 16)[4::8, 4::8].reshape(4, 3)


def test_cmyk_is_light_that_the_inks_leave():
    expected = [[255, 255, 255], [0, 255, 255], [255, 0, 0], [0, 0, 0]]
    assert (squares(cmyk("TIFF")) == expected).all()
    assert abs(squares(cmyk("JPEG", quality=100)) - expected).max() <= 2
    half = np.full((4, 4), 128, np.uint8)
    assert abs(squares(cmyk("TIFF", half)) - 127 * 127 / 255).max() <= 1


def test_cmyk_with_a_profile_is_what_the_profile_says():
    corners = np.indices((2, 2, 2, 2)).reshape(4, 16).T
    inks = [[-15, -20, -15], [-25, 25, -5], [-10, -5, 25], [-50, 0, -5]]  # all together are black
    lab = [100, 0, 0] + corners @ inks
    ramp = bytes(range(256))
    table = (lab * [2.55, 1, 1] + [0, 128, 128]).round().astype(np.uint8).tobytes()
    matrix = struct.pack(">9i", *(np.eye(3, dtype=int).ravel() * 65536))
    lut = b"mft1\0\0\0\0\4\3\2\0" + matrix + ramp * 4 + table + ramp * 3
    profile = icc(b"prtr", b"CMYK", b"Lab ", A2B0=lut)
    expected = from_lab(lab[[0, 8, 6, 1]])
    assert abs(squares(cmyk("TIFF", icc_profile=profile)) - expected).max() <= 3
    assert abs(squares(cmyk("JPEG", quality=100, icc_profile=profile)) - expected).max() <= 5


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SWAPPED = SRGB.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_a_profile_is_applied(form):
    """One in which the light of red is blue, and that of blue red."""
    found = shown(file(COLOURS, form, icc_profile=SWAPPED))
    assert abs(found - COLOURS[:, :, ::-1]).max() <= 2


def test_a_profile_is_applied_under_alpha_and_to_palettes():
    image = Image.fromarray(np.dstack([COLOURS, np.full((SIDE, SIDE), 128, np.uint8)]))
    expected = COLOURS[:, :, ::-1] * (128 / 255) + 127
    assert abs(shown(file(image, "PNG", icc_profile=SWAPPED)) - expected).max() <= 2
    palette = Image.fromarray(COLOURS).quantize(16)
    expected = np.asarray(palette.convert("RGB"))[:, :, ::-1]
    assert abs(shown(file(palette, "PNG", icc_profile=SWAPPED)) - expected).max() <= 2


@pytest.mark.parametrize("mode", ["L", "LA", "I;16", "tRNS"])
def test_a_profile_of_grey_is_applied(mode):
    """One of linear light."""
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, 256)
    profile = icc(b"mntr", b"GRAY", b"XYZ ", kTRC=curve)
    levels = np.linspace(0, 255, SIDE * SIDE).astype(np.uint8).reshape(SIDE, SIDE)
    image = Image.fromarray(levels.astype(np.uint16) * 257 if mode == "I;16" else levels)
    image = image.convert("LA") if mode == "LA" else image
    expected = encoded(levels / 255)[:, :, None]
    options = {"icc_profile": profile}
    if mode == "tRNS":
        options["transparency"] = int(levels[3, 4])
        expected[3, 4] = WHITE
    assert abs(shown(file(image, "PNG", **options)) - expected).max() <= 2


@pytest.mark.parametrize(
    "profile", [SRGB, b"no profile", SRGB[:200], icc(b"mntr", b"GRAY", b"XYZ ")], ids=range(4)
)
def test_a_profile_of_srgb_changes_no_bit_nor_does_one_that_is_damaged_or_of_grey(profile):
    assert (shown(file(COLOURS, "PNG", icc_profile=profile)) == COLOURS).all()


def test_srgb_of_another_maker_changes_no_bit():
    """Its red primary is a little off, which moves some colours by a level."""
    value = SRGB.index(b"XYZ \0\0\0\0" + b"\0\0\x6f") + 8
    (red,) = struct.unpack_from(">i", SRGB, value)
    other = SRGB[:value] + struct.pack(">i", red + 20) + SRGB[value + 4 :]
    colours = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    picture = Image.fromarray(colours)
    applied = ImageCms.profileToProfile(
        picture, ImageCms.ImageCmsProfile(io.BytesIO(other)), ImageCms.createProfile("sRGB")
    )
    assert 0 < abs(np.asarray(applied).astype(int) - colours).max() <= 2
    assert (shown(file(picture, "PNG", icc_profile=other), 64) == colours).all()


def test_ycbcr_and_lab_of_a_tiff():
    y, cb, cr = 120, 90, 200
    expected = [
        y + 1.402 * (cr - 128),
        y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128),
        y + 1.772 * (cb - 128),
    ]
    assert abs(shown(tiff(bytes([y, cb, cr] * 4), [8] * 3, 6), 2) - expected).max() <= 1
    lab = struct.pack("Bbb", round(60 * 2.55), 30, -40)
    assert abs(shown(tiff(lab * 4, [8] * 3, 8), 2) - from_lab([60, 30, -40])).max() <= 2


# --- Transparency ---


def hidden(form: str, size: int = SIDE, **options) -> bytes:
    """White, of which the right half is red and fully transparent."""
    pixels = np.full((size, size, 4), 255, np.uint8)
    pixels[:, size // 2 :] = (255, 0, 0, 0)
    return file(pixels, form, **options)


LOSSLESS = [
    ("PNG", {}),
    ("TIFF", {}),
    ("WEBP", {"lossless": True, "exact": True}),
    ("JPEG2000", {"irreversible": False}),
]


@pytest.mark.parametrize(("form", "options"), LOSSLESS)
@pytest.mark.parametrize("size", [SIDE, 3, 20])
def test_colours_of_transparent_pixels_never_appear_nor_bleed_into_others(form, options, size):
    assert (shown(hidden(form, **options), size) == WHITE).all()


@pytest.mark.parametrize(("form", "options"), LOSSLESS)
def test_partial_alpha_is_composited_over_white(form, options):
    alpha = np.linspace(0, 255, SIDE * SIDE).astype(np.uint8).reshape(SIDE, SIDE, 1)
    expected = COLOURS * (alpha / 255) + WHITE * (1 - alpha / 255)
    found = shown(file(np.concatenate([COLOURS, alpha], -1), form, **options))
    assert abs(found - expected).max() <= 0.51


@pytest.mark.parametrize("form", ["WEBP", AVIF])
def test_alpha_of_lossy_formats_is_composited_over_white(form):
    picture = np.dstack([smooth(32, 32), np.full((32, 32), 255, np.uint8)])
    picture[:16, :, 3] = 0
    found = shown(file(picture, form, quality=95), 32)
    assert abs(found[:16] - WHITE).max() <= 3
    assert abs(found[18:] - picture[18:, :, :3]).max() <= 10


def test_grey_with_alpha_is_composited_over_white():
    pair = np.array([[[50, 0], [50, 255]], [[50, 51], [255, 7]]], np.uint8)
    data = file(Image.fromarray(pair, "LA"), "PNG")
    assert (shown(data, 2)[:, :, 1] == [[255, 50], [(50 * 51 + 255 * 204) // 255, 255]]).all()


@pytest.mark.parametrize("bits", [[8, 8], [8, 8, 8, 8]])
def test_alpha_that_a_tiff_has_multiplied_already(bits):
    """Black of alpha 0, 51, 102 and 255, and no colour in any of it."""
    data = b"".join(b"\0" * (len(bits) - 1) + bytes([alpha]) for alpha in (0, 51, 102, 255))
    found = shown(tiff(data, bits, 1 if len(bits) == 2 else 2, ExtraSamples=[1]), 2)
    assert (found == np.array([[255, 204], [153, 0]])[:, :, None]).all()


def test_the_transparent_colour_of_an_rgb_png():
    data = png(2, 8, 2, bytes([9, 8, 7, 9, 8, 6]), bytes(6), tRNS=bytes([0, 9, 0, 8, 0, 7]))
    assert (shown(data, 2) == [[[255] * 3, [9, 8, 6]], [[0] * 3, [0] * 3]]).all()


# --- Orientation ---


def stored(picture: np.ndarray, orientation: int) -> np.ndarray:
    """The rows of a file whose row 0 and column 0 are the sides of the picture that EXIF says."""
    turned = picture.transpose(1, 0, 2)
    return {
        1: picture,  # top, left
        2: picture[:, ::-1],  # top, right
        3: picture[::-1, ::-1],  # bottom, right
        4: picture[::-1],  # bottom, left
        5: turned,  # left, top
        6: turned[::-1],  # right, top
        7: turned[::-1, ::-1],  # right, bottom
        8: turned[:, ::-1],  # left, bottom
    }[orientation]


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[274] = orientation
    return tags


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("form", "options"),
    [("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("TIFF", {"compression": "raw"})],
)
def test_a_picture_is_turned_as_its_exif_says(form, options, orientation, resize):
    picture = smooth(11, 30)
    data = file(stored(picture, orientation), form, exif=exif(orientation), **options)
    assert (decode(data, 9, resize) == decode(file(picture, "PNG"), 9, resize)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", AVIF])
def test_a_lossy_picture_is_turned_as_its_exif_says(form, orientation):
    picture = smooth(32, 32)
    data = file(stored(picture, orientation), form, quality=95, exif=exif(orientation))
    assert abs(shown(data, 32) - picture).max() <= 10


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0MM\0*\xff\xff\xff\xff",
        b"Exif\0\0no EXIF at all",
        exif(77).tobytes(),
    ],
    ids=range(5),
)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_refuses_no_picture(form, damaged):
    options = {"lossless": True} if form == "WEBP" else {}
    data = file(COLOURS, form, **options)
    assert (shown(file(COLOURS, form, exif=damaged, **options)) == shown(data)).all()


def test_exif_that_pillow_can_not_write_anew_turns_the_picture_all_the_same():
    """A tag whose value lies outside of the file, behind the orientation."""
    entries = struct.pack(">HHIHH", 274, 3, 1, 6, 0) + struct.pack(">HHII", 282, 5, 1, 9999)
    damaged = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 2) + entries + b"\0" * 4
    data = file(stored(COLOURS, 6), "PNG", exif=damaged)
    assert (shown(data) == COLOURS).all()


# --- Animations ---


@pytest.mark.parametrize(
    ("form", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})]
)
def test_an_animation_is_its_first_frame(form, options):
    frames = [Image.new("RGB", (SIDE, SIDE), colour) for colour in ("red", "lime", "blue")]
    data = file(frames[0], form, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert (shown(data) == [255, 0, 0]).all()


@pytest.mark.parametrize("disposal", [0, 1, 2])
def test_the_first_frame_of_a_gif_shows_the_page_where_it_is_transparent(disposal):
    frames = [Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0)) for _ in range(2)]
    frames[0].paste((0, 0, 255, 255), (0, 0, SIDE, 3))
    frames[1].paste((255, 0, 0, 255), (0, 0, SIDE, SIDE))
    data = file(frames[0], "GIF", save_all=True, append_images=frames[1:], disposal=disposal)
    found = shown(data)
    assert (found[:3] == [0, 0, 255]).all()
    assert (found[3:] == WHITE).all()


def test_a_gif_shows_the_page_outside_of_a_first_frame_that_is_smaller():
    data = bytearray(file(Image.new("RGB", (2, 3), "blue"), "GIF"))
    frame = data.index(struct.pack("<BHHHH", 0x2C, 0, 0, 2, 3))
    data[6:10] = struct.pack("<HH", SIDE, SIDE)
    data[frame + 1 : frame + 5] = struct.pack("<HH", 4, 1)
    expected = np.full((SIDE, SIDE, 3), WHITE)
    expected[1:4, 4:6] = [0, 0, 255]
    assert (shown(bytes(data)) == expected).all()


def test_a_jpeg_of_several_pictures_is_its_first():
    pair = [Image.new("RGB", (SIDE, SIDE), colour) for colour in ("red", "blue")]
    data = file(pair[0], "MPO", save_all=True, append_images=pair[1:])
    assert Image.open(io.BytesIO(data)).n_frames == 2
    assert abs(shown(data) - [255, 0, 0]).max() <= 2


# --- Sizes ---


@given(
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    size=st.integers(1, 40),
    resize=st.sampled_from(RESIZES),
    colour=st.tuples(*[st.integers(0, 255)] * 3),
)
@settings(max_examples=150, deadline=None)
def test_a_picture_of_one_colour_keeps_it_at_any_size(width, height, size, resize, colour):
    found = decode(file(Image.new("RGB", (width, height), colour), "PPM"), size, resize)
    assert found.shape == (3, size, size)
    there = np.ones((size, size), bool)
    if resize == "pad":
        there = (found.transpose(1, 2, 0) == colour).all(-1)
        rows, columns = there.any(1).sum(), there.any(0).sum()
        longest = max(width, height)
        assert abs(rows - max(1, size * height / longest)) <= 0.5 or colour == (128, 128, 128)
        assert abs(columns - max(1, size * width / longest)) <= 0.5 or colour == (128, 128, 128)
        assert (found[:, ~there] == 128).all()
    assert (colour == found[:, there].T).all()


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (1, 1)])
def test_a_panorama_of_one_pixel_decodes(shape, resize):
    assert decode(file(Image.new("L", shape), "PNG"), 7, resize).shape == (3, 7, 7)


def test_crop_keeps_the_middle_pad_all_of_it_centred_and_stretch_all_of_it():
    """Three squares side by side: red, green, blue."""
    picture = np.repeat(np.eye(3, dtype=np.uint8) * 255, 24, axis=0)[None].repeat(24, axis=0)
    for turned in (False, True):
        data = file(stored(picture, 5) if turned else picture, "PNG")
        crop, pad, stretch = (
            found.transpose(1, 0, 2) if turned else found
            for found in (shown(data, 12, resize) for resize in RESIZES)
        )
        assert (crop[:, 1:-1] == [0, 255, 0]).all()
        assert (pad[:4] == 128).all()
        assert (pad[8:] == 128).all()
        for found in (pad[4:8], stretch):
            assert found[:, 1].mean(0).round().tolist() == [255, 0, 0]
            assert found[:, 6].mean(0).round()[1] > 240
            assert found[:, -2].mean(0).round().tolist() == [0, 0, 255]


@pytest.mark.parametrize("resize", RESIZES)
def test_a_picture_is_antialiased_when_it_shrinks(resize):
    """Stripes finer than the result's pixels are their mean."""
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    assert abs(shown(file(stripes, "PNG"), 8, resize) - 127.5).max() <= 8


# --- Broken files ---

JPEG = file(smooth(32, 32), "JPEG")
PNG = file(smooth(32, 32), "PNG")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (bytes(500), "only zero bytes"),
        (JPEG[:-200], "truncated JPEG"),
        (JPEG[:10], "truncated JPEG"),
        (PNG[:-80], "truncated PNG"),
        (file(smooth(), "WEBP")[:-30], "damaged or truncated WebP: .*"),
        (file(smooth(), "GIF")[:-30], "truncated GIF"),
        (file(smooth(), "BMP")[:-30], "truncated BMP"),
        (file(smooth(), "PPM")[:-30], "damaged or truncated PPM.*|truncated PPM"),
        (b"these are no pixels\n", "not a picture: text"),
        ("\ufeffdas hört man".encode(), "not a picture: text"),
        (b"\n<!DOCTYPE html><html>404", "not a picture: HTML text"),
        (b"<html>", "not a picture: HTML text"),
        (b'<?xml version="1.0"?>\n<svg width="4"/>', "not pixels: an SVG drawing"),
        (b"PK\x03\x04\x14\0", "not a picture: a ZIP archive"),
        (b"%PDF-1.7\n", "not a picture: a PDF document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not a picture: a PostScript document"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "a video"),
        (b"\x1aE\xdf\xa3\x9f", "a video"),
        (b"RIFF\x24\0\0\0AVI LIST", "a video"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC, which Pillow can't read; convert it to JPEG"),
        (
            b"version https://git-lfs.example/spec/v1\noid sha256:0\nsize 9\n",
            "a Git LFS pointer, not the picture; run git lfs pull",
        ),
        (b"\x93NUMPY\x01\0", "not a picture in a known format"),
        (png(0, 8, 0, b""), "damaged or truncated PNG"),
        (png(1, 8, 3, b"\0"), "damaged or truncated PNG: AssertionError"),  # no palette
        (png(20000, 8, 0, *[b""] * 20000), "decompression bomb: Image size \\(400000000 pixels.*"),
    ],
)
@pytest.mark.fault(
    "a file that is no picture, of 25 kinds", "a reason for the list of broken pictures"
)
def test_a_file_that_can_not_be_decoded_says_why(data, reason):
    with pytest.raises(Broken, match=f"^({reason})$"):
        decode(data, 16, "crop")


@pytest.mark.fault("PostScript, PDF and other programs as pictures", "never run")
def test_postscript_is_never_run():
    assert not {"EPS", "PDF", "PSD", "WMF"} & set(pictures._FORMATS)
    assert not {".eps", ".ps", ".pdf", ".mp4", ".txt", ".svg"} & pictures.EXTENSIONS


def test_the_extensions_are_those_of_the_formats():
    of_formats = {
        suffix
        for suffix, form in Image.registered_extensions().items()
        if form in pictures._FORMATS
    }
    assert {suffix.lower() for suffix in pictures.EXTENSIONS} == pictures.EXTENSIONS
    assert of_formats >= pictures.EXTENSIONS


def outcomes(changed: list[bytes], size: int) -> list[np.ndarray | None]:
    """The pixels of each file, None if it is refused."""
    found = []
    for data in changed:
        try:
            found.append(decode(data, size, "crop"))
        except Broken:
            found.append(None)
    return found


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("WEBP", {}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("JPEG2000", {}),
        ("PPM", {}),
        pytest.param("AVIF", {}, marks=AVIF.marks),
    ],
)
@pytest.mark.fault("pictures of ten formats, cut at each byte", "refused, or all pixels")
def test_a_cut_file_is_refused_or_lost_nothing(form, options):
    data = file(COLOURS, form, **options)
    whole = decode(data, SIDE, "crop")
    cuts = outcomes([data[:length] for length in range(len(data))], SIDE)
    assert all(found is None or (found == whole).all() for found in cuts)
    assert sum(found is None for found in cuts) > 0.7 * len(cuts)


@pytest.mark.fault("each byte of a PNG with a flipped bit", "refused, or all pixels")
def test_a_png_with_a_changed_bit_is_refused_or_lost_nothing():
    whole = decode(PNG, 32, "crop")
    changed = [bytearray(PNG) for _ in PNG]
    for position, data in enumerate(changed):
        data[position] ^= 1 << position % 8
    found = outcomes([bytes(data) for data in changed], 32)
    assert all(one is None or (one == whole).all() for one in found)


@given(
    chunks=st.dictionaries(
        st.sampled_from(["PLTE", "tRNS", "eXIf", "iCCP", "acTL", "fcTL", "gAMA"]),
        st.binary(max_size=8) | st.integers(0, 300).map(bytes),
    ),
    kind=st.sampled_from([(0, 2), (0, 8), (0, 16), (2, 8), (2, 16), (3, 4), (3, 8), (4, 8)]),
)
@settings(max_examples=150, deadline=None)
@pytest.mark.fault("a PNG with any chunks", "refused, or a picture")
def test_any_chunks_of_a_png_are_read_or_refused(chunks, kind):
    colour, depth = kind
    (found,) = outcomes([png(1, depth, colour, b"\2" * 8, **chunks)], 2)
    assert found is None or found.shape == (3, 2, 2)


@given(data=st.binary(max_size=200), start=st.sampled_from([b"", JPEG[:300], PNG[:60], b"GIF89a"]))
@settings(max_examples=150, deadline=None)
@pytest.mark.fault("any bytes as a picture", "refused, or a picture")
def test_any_bytes_are_a_picture_or_broken(data, start):
    (found,) = outcomes([start + data], 4)
    assert found is None or found.shape == (3, 4, 4)


# --- The surroundings ---


def test_nothing_leaks(capfd, monkeypatch):
    """A large picture, a damaged EXIF, a palette with transparency: no warning, nothing changed."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    state = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, warnings.filters[:])
    palette = png(1, 8, 3, b"\0", PLTE=PALETTE, tRNS=b"\x80\xff")
    damaged = file(smooth(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for data in (file(smooth(40, 40), "PNG"), palette, damaged):
            decode(data, 4, "crop")
        outcomes([b"", JPEG[:50], b"text"], 4)
    assert not caught
    assert capfd.readouterr() == ("", "")
    assert state == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, warnings.filters)


SCARCE = """
import resource, sys
from treehead.data import pictures

small, large = sys.stdin.buffer.read(int(sys.argv[1])), sys.stdin.buffer.read()
pictures.decode(small, 8, "crop")
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**24, used + 2**24))
try:
    pictures.decode(large, 8, "crop")
except (pictures.Broken, MemoryError) as error:
    print(type(error).__name__, error)
"""


def test_memory_that_ends_is_no_fault_of_the_picture():
    """Or with skip_broken it would be left out."""
    small, large = (file(Image.new("RGB", (side, side)), "PNG") for side in (8, 6000))
    command = [sys.executable, "-c", SCARCE, str(len(small))]
    done = subprocess.run(command, input=small + large, capture_output=True, check=True)
    assert done.stdout == b"MemoryError while decoding a picture\n"


def test_a_profile_that_memory_is_too_scarce_to_read_is_not_left_out(
    monkeypatch: pytest.MonkeyPatch,
):
    """Pillow says that it can't open the profile, as of a damaged one, whose colours stay."""
    data = file(COLOURS, "PNG", icc_profile=SWAPPED + b"once")

    def opened(_: object) -> None:
        raise OSError("cannot open profile from string")

    def scarce(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(pictures.ImageCms, "ImageCmsProfile", opened)
    with monkeypatch.context() as within:
        within.setattr(pictures.np, "empty", scarce)
        with pytest.raises(MemoryError, match="while decoding a picture"):
            decode(data, SIDE, "crop")
    assert decode(data, SIDE, "crop").shape == (3, SIDE, SIDE)


def test_a_picture_that_asks_for_more_than_any_needs_is_broken(monkeypatch: pytest.MonkeyPatch):
    data = file(Image.new("RGB", (SIDE, SIDE)), "BMP")

    def load(_: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(Broken, match="damaged or truncated BMP: MemoryError"):
        decode(data, SIDE, "crop")
