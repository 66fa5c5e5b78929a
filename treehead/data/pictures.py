"""Any picture file as RGB pixels of one size, or the reason why it can't be decoded.

Pillow decodes. What it leaves to its callers is done here: EXIF orientation, transparency, more
than 8 bits a sample, colour profiles, checksums.
"""

import functools
import io
import re
import warnings
import zlib
from collections.abc import Callable

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from treehead.artifacts import lacks_memory

# fmt: off
EXTENSIONS = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".avif", ".gif", ".bmp", ".tif",
    ".tiff", ".jp2", ".j2k", ".jpx", ".jpf", ".ppm", ".pgm", ".pbm", ".pnm",
})
# fmt: on
# No EPS, for which Pillow runs Ghostscript, and none without a signature, as which any file passes.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")

_PAGE = (255, 255, 255)  # shows through transparent pixels, as on paper and on most web pages
_FILL = (128, 128, 128)  # beside a padded picture: near 0 once normalised, as convolutions pad
_FILTER = Image.Resampling.BICUBIC  # antialiased: Pillow widens it when a picture shrinks
_LEAST = 4  # sides of the result that a JPEG keeps at least if it is decoded at reduced size
_SAME = 2  # levels of 255 by which profiles of sRGB from several makers differ

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_SIGNATURES = {
    rb"\xff\xd8": "JPEG",
    rb"\x89PNG": "PNG",
    rb"RIFF.{4}WEBP": "WebP",
    rb"GIF8": "GIF",
    rb"BM": "BMP",
    rb"II\*\0|MM\0\*": "TIFF",
    rb".{4}ftypavi[fs]": "AVIF",
    rb"\0\0\0\x0cjP|\xff\x4f\xff\x51": "JPEG 2000",
    rb"P[1-6]\s": "PPM",
}
# What a file without one of these is, by how it begins; the first that fits.
_OTHERS = {
    rb"\0+\Z": "only zero bytes",
    rb"version https://git-lfs": "a Git LFS pointer, not the picture; run git lfs pull",
    rb"\s*<(!doctype html|html)": "not a picture: HTML text",
    rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<(!doctype svg|svg)": "not pixels: an SVG drawing",
    rb"PK[\x03\x05]": "not a picture: a ZIP archive",
    rb"%PDF": "not a picture: a PDF document",
    rb"%!PS": "not a picture: a PostScript document",
    rb".{4}ftyp(hei|hev|mif1|msf1)": "HEIC, which Pillow can't read; convert it to JPEG",
    rb"\xff\x0a|\0\0\0\x0cJXL ": "JPEG XL, which Pillow can't read; convert it to PNG",
    rb".{4}ftyp|\x1aE\xdf\xa3|RIFF.{4}AVI |\0\0\x01[\xb3\xba]|FLV\x01": "a video",
    rb"(\xef\xbb\xbf)?[\t\n\r -~][\t\n\r -~\x80-\xff]*\Z": "not a picture: text",
}


# If the machine has so many bytes left, a picture that found too few asked for more than any needs.
_ROOM = 2**28

# Pixels of a picture that is copied several times on its way to RGB: 17 bytes each at most. Pillow
# itself refuses any picture of more than 179 million.
_MOST = 50_000_000


class Broken(Exception):
    """Why a file can't be decoded, short enough for a report with a row a file."""


def decode(data: bytes, size: int, resize: str) -> np.ndarray:
    """Decode the bytes of a picture file to RGB, uint8 (3, size, size).

    The result is what a viewer shows on a white page: the first frame, turned as its EXIF says,
    its colour profile applied. A picture of size x size pixels is not resampled.

    Args:
        data: the whole file.
        size: sides of the result in pixels.
        resize: "crop" scales the short side to `size` and keeps the middle, "pad" scales the long
            side to `size` and fills the rest with mid-grey, "stretch" scales each side to `size`.

    Raises:
        Broken: the file can't be decoded.
        MemoryError: the machine has too little memory, which is no fault of the file.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns of what decodes all the same: large pictures, damaged EXIF.
            warnings.filterwarnings("ignore", module="PIL")
            image = _opened(data, size)
            turn = _TURNS.get(_orientation(image))
            rgb = _on_page(_in_8_bits(image, data))
    except Broken:
        raise
    except Exception as error:  # the bytes choose which: Pillow raises nearly any
        _check_room(error)
        raise Broken(_reason(data, error)) from error
    rgb = _resized(rgb if turn is None else rgb.transpose(turn), size, resize)
    # Cheaper than a transposed copy of an array (height, width, 3).
    planes = bytearray().join(rgb.tobytes("raw", band) for band in "RGB")
    return np.frombuffer(planes, np.uint8).reshape(3, size, size)


def _opened(data: bytes, size: int) -> Image.Image:
    """The first frame, in the mode of the file."""
    image = Image.open(io.BytesIO(data), formats=_FORMATS)
    # A large JPEG of whole blocks is decoded at 1/2, 1/4 or 1/8 of its size: from 12 megapixels to
    # 160 px it takes a third of the time and changes the result by 0.3 levels on average.
    if not (image.width % 8 or image.height % 8):
        image.draft(None, (_LEAST * size, _LEAST * size))
    if image.width * image.height > _MOST and not _is_plain(image):
        raise Broken(
            f"too large: {image.width:,} x {image.height:,} pixels with transparency, 16 bits or "
            "CMYK, or a GIF; save it smaller"
        )
    frame = image.tile[0].extents if image.format == "GIF" else None
    image.load()
    if image.format == "PNG" and not _intact(data):
        raise Broken("damaged PNG: the checksum of its pixels is wrong")
    if image.format == "JPEG2000" and b"\xff\xd9" not in data:  # its end, which Pillow doesn't miss
        raise Broken("truncated JPEG 2000")
    if frame in (None, (0, 0, *image.size)):
        return image
    # The first frame of a GIF may be smaller than its page; Pillow gives the rest colour 0.
    page = Image.new("RGBA", image.size)
    page.paste(image.convert("RGBA").crop(frame), frame)
    return page


def _is_plain(image: Image.Image) -> bool:
    """Whether a picture becomes RGB with at most one copy of it in memory."""
    opaque = "transparency" not in image.info and image.format != "GIF"
    return opaque and image.mode in ("1", "L", "P", "RGB")


def _intact(png: bytes) -> bool:
    """Whether the checksums of the pixels are right; Pillow checks those of other chunks."""
    start = 8
    while start + 12 <= len(png):
        end = start + 8 + int.from_bytes(png[start : start + 4])
        checked = memoryview(png)[start + 4 : end]
        if checked[:4] == b"IDAT" and zlib.crc32(checked) != int.from_bytes(png[end : end + 4]):
            return False
        start = end + 4
    return True


def _reason(data: bytes, error: Exception) -> str:
    if not data:
        return "empty file"
    if isinstance(error, Image.DecompressionBombError):
        return f"decompression bomb: {str(error).partition(',')[0]}"
    for start, name in _SIGNATURES.items():
        if re.match(start, data, re.DOTALL):
            if "truncated" in str(error).lower():
                return f"truncated {name}"
            known = isinstance(error, UnidentifiedImageError)
            detail = "" if known else f": {error}" if str(error) else f": {type(error).__name__}"
            return f"damaged or truncated {name}{detail}"
    for start, what in _OTHERS.items():
        if re.match(start, data, re.DOTALL | re.IGNORECASE):
            return what
    return "not a picture in a known format"


def _orientation(image: Image.Image) -> int | None:
    # ImageOps.exif_transpose also writes the EXIF anew, and fails where it can't.
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception as error:  # damaged EXIF, of pixels that decode
        _check_room(error)
        return None


def _check_room(error: Exception) -> None:
    """Raise a MemoryError if memory ran out on the machine, and not because of the picture."""
    if lacks_memory(error):
        _ask_for_room(error)


def _ask_for_room(error: Exception) -> None:
    try:
        np.empty(_ROOM, np.uint8)
    except MemoryError:
        raise MemoryError("while decoding a picture") from error


def _in_8_bits(image: Image.Image, data: bytes) -> Image.Image:
    """The image with samples of 8 bits, its transparent colour among them; others are refused."""
    tags = image.tag_v2 if image.format == "TIFF" else {}
    signed = 2 in tags.get(ExifTags.Base.SampleFormat, ())
    if image.mode == "F" or signed or (image.mode == "I" and image.format != "PPM"):
        raise Broken("float, signed or 32-bit samples, whose white is unknown; save 8 or 16 bits")
    transparent = image.info.get("transparency")
    if image.mode.startswith("I"):
        (bits,) = tags.get(ExifTags.Base.BitsPerSample, (16,))
        samples = np.asarray(image)
        grey = (samples >> (bits - 8)).astype(np.uint8)  # the high byte, as Pillow does in RGB
        if tags.get(ExifTags.Base.PhotometricInterpretation) == 0:  # 0 is white
            grey = ~grey
        alpha = np.where(samples == transparent, 0, 255).astype(np.uint8)
        reduced = Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)])
        reduced.info["icc_profile"] = image.info.get("icc_profile")
        return reduced
    if transparent is not None and image.format == "PNG":
        depth = data[24]
        if image.mode == "RGB" and depth == 16:
            raise Broken("a transparent colour of 16 bits, which Pillow can't find; save 8 bits")
        if image.mode == "L":  # Pillow scales samples of 2 and 4 bits to 0..255, but not this one
            image.info["transparency"] = transparent % 2**depth * 255 // (2**depth - 1)
    return image


def _on_page(image: Image.Image) -> Image.Image:
    """The image in sRGB, its transparent pixels composited over the page."""
    profile, alpha = image.info.get("icc_profile"), None
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode in ("1", "L", "LA", "La") else "RGBA")
        alpha = image.getchannel("A")
    mode = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK"}.get(image.mode, "RGB")
    colours = image if image.mode == mode else image.convert(mode)
    to_srgb = _to_srgb(profile, mode) if profile else None
    if to_srgb:
        colours = to_srgb(colours)
    elif mode != "RGB":
        colours = colours.convert("RGB")
    if alpha is None:
        return colours
    page = Image.new("RGB", image.size, _PAGE)
    page.paste(colours, mask=alpha)
    return page


@functools.lru_cache(maxsize=32)
def _to_srgb(profile: bytes, mode: str) -> Callable[[Image.Image], Image.Image] | None:
    """From an embedded profile; None if it is sRGB, damaged or of another kind of image."""
    # The optimised transform of grey is wrong by up to 9 levels in the dark.
    flags = ImageCms.Flags.NOOPTIMIZE if mode == "L" else ImageCms.Flags.NONE
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != {"L": "GRAY"}.get(mode, mode):
            return None
        srgb = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(source, srgb, mode, "RGB", flags=flags)
    except (OSError, ImageCms.PyCMSError) as error:
        _ask_for_room(error)  # Pillow does not say why it can't read a profile
        return None
    if mode == "CMYK":
        return transform.apply
    levels = np.arange(0, 256, 1 if mode == "L" else 17, dtype=np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), -1) if mode == "RGB" else levels
    given = Image.fromarray(cube.reshape(-1, 256, 3) if mode == "RGB" else cube[None])
    shown = np.asarray(transform.apply(given))
    if abs(shown.astype(int) - np.asarray(given.convert("RGB"))).max() <= _SAME:
        return None
    if mode == "L":
        table = shown[0].T.ravel().tolist()
        return lambda grey: grey.convert("RGB").point(table)
    return transform.apply


def _resized(rgb: Image.Image, size: int, resize: str) -> Image.Image:
    if rgb.size == (size, size):
        return rgb
    if resize == "crop":
        return ImageOps.fit(rgb, (size, size), _FILTER)
    if resize == "stretch":
        return rgb.resize((size, size), _FILTER)
    scale = size / max(rgb.size)  # ImageOps.pad fails on a side that rounds to 0
    inner = rgb.resize([max(1, round(side * scale)) for side in rgb.size], _FILTER)
    page = Image.new("RGB", (size, size), _FILL)
    page.paste(inner, [(size - side) // 2 for side in inner.size])
    return page
