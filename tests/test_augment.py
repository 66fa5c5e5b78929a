"""Augmentation can be followed pixel by pixel, and its draws are the generator's alone."""

import numpy as np
import pytest
import torch
from torch import Generator, Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as torchvision

from treehead.training import augment

KINDS = ["none", "cutmix", "mixup", "either"]


def pictures(n: int, height: int = 9, width: int = 9) -> Tensor:
    return torch.randn(n, 3, height, width, generator=Generator().manual_seed(n))


def warped(images: Tensor, seed: int = 0, **settings: object) -> Tensor:
    still = torch.zeros(len(images), dtype=torch.bool)
    given = {"mirrored": still, "rotation": 0, "crop": 0, **settings}
    return augment.warp(images, given.pop("mirrored"), given, Generator().manual_seed(seed))


def mirrored(kind: str, n: int, epoch: int = 1, seed: int = 0) -> Tensor:
    first = torch.rand(n, generator=Generator().manual_seed(1)) < 0.5
    return augment.mirrored(kind, first, epoch, Generator().manual_seed(seed))


@pytest.fixture
def largest_angle(monkeypatch: pytest.MonkeyPatch):
    """Every angle is drawn as the largest one."""
    monkeypatch.setattr(torch, "rand", lambda n, generator: torch.ones(n))


@pytest.mark.parametrize("size", [(9, 9), (8, 8), (6, 11)])
def test_no_flip_no_rotation_and_no_shift_is_the_identity(size: tuple[int, int]):
    images = pictures(5, *size)
    torch.testing.assert_close(warped(images), images, rtol=0, atol=1e-5)


def test_a_flip_mirrors_those_that_it_shall_exactly():
    images, chosen = pictures(200), mirrored("random", 200)
    expected = torch.where(chosen[:, None, None, None], images.flip(-1), images)
    torch.testing.assert_close(warped(images, mirrored=chosen), expected, rtol=0, atol=1e-5)


def test_a_random_flip_mirrors_half_of_the_images_anew_each_time():
    one, other = mirrored("random", 500, seed=0), mirrored("random", 500, seed=1)
    assert 200 < one.sum() < 300
    assert 200 < (one ^ other).sum() < 300
    assert torch.equal(mirrored("random", 500, seed=0), one)
    assert not mirrored("none", 500).any()


def test_an_alternating_flip_shows_both_sides_in_any_two_epochs():
    epochs = [mirrored("alternating", 500, epoch, seed=epoch) for epoch in (1, 2, 3)]
    assert 200 < epochs[0].sum() < 300
    assert torch.equal(epochs[1], ~epochs[0])
    assert torch.equal(epochs[2], epochs[0])


@pytest.mark.parametrize("side", [1, 2, 4, 5, 8])
def test_a_cutout_is_a_square_that_is_set_to_the_mean(side: int):
    images = pictures(300, 12, 16)
    cut = augment.cutout(images, side, Generator().manual_seed(0))
    hidden = (cut == 0).all(1)
    assert torch.equal(
        cut[~hidden[:, None].expand_as(cut)], images[~hidden[:, None].expand_as(cut)]
    )
    rows, columns = hidden.any(2).sum(1), hidden.any(1).sum(1)
    assert torch.equal(hidden.sum((1, 2)), rows * columns), "it is a rectangle"
    assert rows.max() == columns.max() == side
    uncut = (12 - side + 1) / 12  # of the centres
    assert (rows == side).float().mean() == pytest.approx(uncut, abs=0.1), (
        "others lie at the border"
    )
    assert len(hidden.flatten(1).unique(dim=0)) > 50


def test_a_cutout_of_no_pixels_leaves_the_images():
    images = pictures(3)
    assert augment.cutout(images, 0, Generator()) is images


@pytest.mark.parametrize("crop", [1, 3])
def test_a_shift_is_the_crop_of_a_mirror_padded_image(crop: int):
    """Pixel by pixel, against every window of numpy's symmetric padding."""
    images = pictures(150, 8, 10)
    sides = ((0, 0), (0, 0), (crop, crop), (crop, crop))
    padded = np.pad(images.numpy(), sides, mode="symmetric")
    shifted = warped(images, crop=crop).numpy()
    seen = set()
    for image, around in zip(shifted, padded, strict=True):
        fitting = [
            (down, right)
            for down in range(2 * crop + 1)
            for right in range(2 * crop + 1)
            if np.abs(image - around[:, down : down + 8, right : right + 10]).max() < 1e-4
        ]
        assert len(fitting) == 1
        seen.add(fitting[0])
    downs, rights = zip(*seen, strict=True)
    assert set(downs) == set(rights) == set(range(2 * crop + 1))
    assert len(seen) > 2 * crop + 1, "both directions have draws of their own"


def test_the_border_repeats_the_outermost_pixel(monkeypatch: pytest.MonkeyPatch):
    """A row 0, 1, ..., 7 shifted by three ends in 7, 7, 6, 5; "reflect" would end in 7, 6, 5, 4."""
    monkeypatch.setattr(torch, "randint", lambda low, high, size, generator: torch.tensor([[3, 0]]))
    row = torch.arange(8.0).expand(1, 3, 8, 8)
    shifted = warped(row, crop=3)[0, 0]
    expected = torch.tensor([3.0, 4, 5, 6, 7, 7, 6, 5]).expand(8, 8)
    torch.testing.assert_close(shifted, expected, rtol=0, atol=1e-4)
    padded = torchvision.pad(row, [0, 0, 3, 0], padding_mode="symmetric")
    assert torch.equal(padded[0, 0, :, 3:], expected)


@pytest.mark.usefixtures("largest_angle")
def test_a_rotation_by_a_quarter_turn_is_rot90():
    images = pictures(3)
    torch.testing.assert_close(
        warped(images, rotation=90), torch.rot90(images, 1, (2, 3)), rtol=0, atol=1e-4
    )


def test_a_rotated_image_may_be_mirrored_too(monkeypatch: pytest.MonkeyPatch):
    """Each draw is the smallest: the largest angle to the other side, and a mirror."""
    monkeypatch.setattr(torch, "rand", lambda n, generator: torch.zeros(n))
    images = pictures(3)
    expected = torch.rot90(images, -1, (2, 3)).flip(-1)
    warp = warped(images, mirrored=torch.ones(3, dtype=torch.bool), rotation=90)
    torch.testing.assert_close(warp, expected, rtol=0, atol=1e-4)


@pytest.mark.usefixtures("largest_angle")
def test_a_rotation_by_half_a_turn_keeps_the_proportions():
    images = pictures(3, 6, 11)
    torch.testing.assert_close(warped(images, rotation=180), images.flip(2, 3), rtol=0, atol=1e-4)


@pytest.mark.usefixtures("largest_angle")
@pytest.mark.parametrize("size", [(21, 21), (16, 24)])
def test_a_rotation_is_torchvisions_away_from_the_border(size: tuple[int, int]):
    """Which fills the corners with zeros, where ours mirrors."""
    images = pictures(2, *size)
    expected = torchvision.rotate(images, 17, InterpolationMode.BILINEAR)
    rows, columns = (torch.arange(side) - (side - 1) / 2 for side in size)
    inside = rows[:, None] ** 2 + columns**2 < (min(size) / 2 - 1) ** 2
    ours = warped(images, rotation=17)
    assert inside.sum() > 100
    torch.testing.assert_close(ours[..., inside], expected[..., inside], rtol=0, atol=1e-4)


def test_angles_go_to_either_side_and_not_beyond_the_largest():
    """A column of light, seen from its middle: where it leaves the image tells the angle."""
    image = torch.zeros(1, 3, 101, 101)
    image[..., 50] = 1
    tilted = warped(image.expand(200, -1, -1, -1), rotation=10)[:, 0, 10]
    angles = torch.atan2(tilted.argmax(1) - 50.0, torch.tensor(40.0)).rad2deg()
    assert angles.abs().max() < 11
    assert angles.min() < -7
    assert angles.max() > 7


@pytest.mark.parametrize("settings", [{"rotation": 30}, {"crop": 2}])
def test_draws_are_each_images_own_and_the_generators_alone(settings: dict):
    images = pictures(1).expand(16, -1, -1, -1)
    torch.manual_seed(1)
    one = warped(images, seed=5, **settings)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(warped(images, seed=5, **settings), one)
    assert not torch.equal(warped(images, seed=6, **settings), one)
    assert torch.equal(torch.get_rng_state(), state)
    assert len(one.unique(dim=0)) > 1


def mixed(kind: str, seed: int, alpha: float = 0.5) -> tuple[Tensor, Tensor, Tensor]:
    """Eight images, each filled with its own label; the mixtures and their probabilities."""
    labels = torch.tensor([4, 0, 3, 1, 2, 0, 5, 4])
    images = labels.float().view(-1, 1, 1, 1).expand(-1, 3, 16, 16).contiguous()
    generator = Generator().manual_seed(seed)
    settings = {"mix": kind, "mix_alpha": alpha}
    return *augment.mix(images, torch.eye(6)[labels], settings, generator), labels


def test_without_mixing_a_target_is_one_hot_and_the_images_stay():
    images, target, labels = mixed("none", 0)
    assert torch.equal(target, torch.eye(6)[labels])
    assert torch.equal(images[:, 0, 0, 0], labels.float())


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_of_a_mixture_sum_to_one_and_are_of_two_classes(kind: str):
    for seed in range(20):
        _, target, labels = mixed(kind, seed)
        torch.testing.assert_close(target.sum(1), torch.ones(8))
        assert (target >= 0).all()
        assert ((target > 0).sum(1) <= 2).all()
        assert kind != "none" or (target.argmax(1) == labels).all()


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_of_a_mixture_are_the_shares_of_its_pixels(kind: str):
    """An image of class c is filled with c: the mean pixel is then the mean class."""
    for seed in range(20):
        images, target, _ = mixed(kind, seed)
        mean_class = target @ torch.arange(6.0)
        torch.testing.assert_close(images.mean((1, 2, 3)), mean_class, rtol=1e-4, atol=1e-4)


def test_cutmix_pastes_and_mixup_blends():
    pasted, blended = mixed("cutmix", 1)[0], mixed("mixup", 1)[0]
    assert set(pasted.unique().tolist()) <= set(range(6))
    assert any(len(image.unique()) > 1 for image in pasted)
    assert all(len(image.unique()) == 1 for image in blended)
    assert not set(blended.unique().tolist()) <= set(range(6))


def test_alpha_may_be_a_whole_number():
    assert torch.equal(mixed("cutmix", 0, alpha=1)[1], mixed("cutmix", 0, alpha=1.0)[1])


def test_either_is_now_the_one_and_now_the_other():
    pasted = [len(mixed("either", seed)[0][1].unique()) > 1 for seed in range(30)]
    assert 0 < sum(pasted) < 30


@pytest.mark.parametrize("kind", KINDS)
def test_a_mixture_is_drawn_from_the_generator_and_the_ambient_state_stays(kind: str):
    torch.manual_seed(1)
    one = mixed(kind, 5)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again = mixed(kind, 5)
    assert torch.equal(one[0], again[0])
    assert torch.equal(one[1], again[1])
    assert torch.equal(torch.get_rng_state(), state)
    if kind != "none":
        assert any(not torch.equal(mixed(kind, seed)[1], one[1]) for seed in range(5))
