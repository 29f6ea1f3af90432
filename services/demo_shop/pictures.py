"""Pictures of the demo shop: one drawing for each category, whose colours and proportions follow from the item's number."""

from hashlib import blake2b
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_ENVIRONMENT: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined,
    trim_blocks=True, lstrip_blocks=True,
)  # fmt: skip


def picture(item_id: str, category: str) -> str:
    """Drawing of an item as SVG, 160 by 160.

    Examples
    --------
    >>> one = picture("sku-00001", "shoes")
    >>> one.startswith("<svg"), one == picture("sku-00001", "shoes"), one == picture("sku-00002", "shoes")
    (True, True, False)
    """
    numbers = blake2b(item_id.encode(), digest_size=4).digest()
    hue = round(numbers[0] * 360 / 256)
    template = _ENVIRONMENT.get_template("picture.svg.j2")
    return template.render(
        category=category,
        paper=f"hsl({(hue + 180) % 360} 30% 94%)",
        main=f"hsl({hue} {38 + numbers[1] % 30}% {42 + numbers[2] % 16}%)",
        dark=f"hsl({hue} 35% 26%)",
        light=f"hsl({(hue + 30) % 360} 55% {68 + numbers[3] % 12}%)",
        wide=round(0.88 + numbers[3] / 256 * 0.24, 3),
        tall=round(0.88 + numbers[1] / 256 * 0.24, 3),
    )
