"""torchvision's own loader for detection, as its references/detection put it together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

THEIRS = "torchvision"


def theirs(
    paths: list[Path],
    boxes_of: list[tuple[NDArray[Any], NDArray[Any]]],
    size: tuple[int, int],
    batch: int,
) -> dict[str, Callable[[int], Iterator[int]]]:
    """torchvision's references/detection with v2 transforms, both of its backends.

    Preset `ssd` augments as much as ours does, `hflip` but mirrors. The pictures are made
    smaller before they become floats, which is the quicker way.

    Args:
        boxes_of: of each path, (M, 4) xyxy pixels and (M,) class index.
        size: height and width of the pictures made.

    Returns:
        By name, what draws an epoch by its number and yields the pictures of each batch.
    """
    import torch
    from torch.utils.data import DataLoader, Dataset

    class Pictures(Dataset[Any]):
        def __init__(self, preset: str, backend: str) -> None:
            self.open, self.change = _preset(preset, backend, size)

        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, index: int) -> Any:
            from torchvision import tv_tensors

            image = self.open(paths[index])
            shape = (image.height, image.width) if hasattr(image, "height") else image.shape[1:]
            xyxy, cls = (torch.from_numpy(each) for each in boxes_of[index])
            boxes = tv_tensors.BoundingBoxes(xyxy, format="XYXY", canvas_size=shape)
            return self.change(image, {"boxes": boxes, "labels": cls})

    def stack(samples: list[Any]) -> Any:
        return torch.stack([image for image, _ in samples]), [target for _, target in samples]

    def way(*kind: str) -> Callable[[int], Iterator[int]]:
        loader = DataLoader(
            Pictures(*kind), batch_size=batch, shuffle=True, drop_last=True,
            collate_fn=stack,
        )  # fmt: skip

        def draw(number: int) -> Iterator[int]:
            torch.manual_seed(number)
            for pictures, _ in loader:
                yield len(pictures)

        return draw

    return {
        f"{THEIRS} {preset}, backend {backend}": way(preset, backend)
        for preset in ("ssd", "hflip")
        for backend in ("pil", "tensor")
    }


def _preset(preset: str, backend: str, size: tuple[int, int]) -> tuple[Callable[[Path], Any], Any]:
    import torch
    from PIL import Image
    from torchvision import tv_tensors
    from torchvision.io import ImageReadMode, decode_image
    from torchvision.transforms import v2

    def pil(path: Path) -> Any:
        return Image.open(path).convert("RGB")

    def tensor(path: Path) -> Any:
        return tv_tensors.Image(decode_image(str(path), ImageReadMode.RGB))

    ssd = [
        v2.RandomPhotometricDistort(), v2.RandomZoomOut(fill=(123, 117, 104)), v2.RandomIoUCrop()
    ]  # fmt: skip
    change = v2.Compose(
        [
            *(ssd if preset == "ssd" else []),
            v2.RandomHorizontalFlip(p=0.5),
            v2.Resize(size),
            *([v2.PILToTensor()] if backend == "pil" else []),
            v2.ToDtype(torch.float, scale=True),
            v2.ConvertBoundingBoxFormat("XYXY"),
            v2.SanitizeBoundingBoxes(),
            v2.ToPureTensor(),
        ]
    )
    return (pil if backend == "pil" else tensor), change
