"""The classes of images that lie in a folder per class."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from sycam.data.tables import listed
from sycam.errors import DataError, OptionError
from sycam.support.arguments import argument

WAYS = ("auto", "names", "sorted", "numbers", "none")
"""How the names of subfolders become classes."""


@dataclass(frozen=True)
class FolderLabels:
    """What the subfolders say.

    Attributes:
        labels: one per image; None where the subfolders are not taken as classes.
        class_names: of all classes, where the folders are what names them.
        note: what a user should know.
    """

    labels: list[int] | None = None
    class_names: tuple[str, ...] | None = None
    note: str = ""


def labels_of_folders(
    names: Sequence[str],
    way: str,
    class_names: Sequence[str] | None = None,
    classes: int | None = None,
) -> FolderLabels:
    """The classes of images by the folder in which they lie.

    Args:
        names: the images' paths; the first folder of each counts.
        way: ``"names"``: the folders are called as the network's classes; ``"sorted"``: the
            folders in sorted order are the classes 0, 1, 2 ..., as torchvision's ``ImageFolder``
            numbers them; ``"numbers"``: the folders are called 0, 1, 2 ...; ``"none"``: they say
            nothing; ``"auto"``: as ``"names"`` where all of them are class names, else as
            ``"none"``, and a note says so.
        class_names: of the network, if they are known.
        classes: how many the network has, if that is known.

    Raises:
        OptionError: a way that is not known.
        DataError: the folders are not what the way says.
    """
    if way not in WAYS:
        raise OptionError(f"{argument('labels')} {way!r} is not known; expected {', '.join(WAYS)}")
    if way == "none":
        return FolderLabels()
    folders = [_folder(name) for name in names]
    subfolders = sorted({folder for folder in folders if folder})
    outside = [name for name, folder in zip(names, folders, strict=True) if not folder]
    if way == "auto":
        return _auto(folders, subfolders, outside, class_names)
    if outside:
        raise DataError(
            f"{len(outside)} of {len(names)} images lie in no folder of a class: {listed(outside)}"
        )
    if way == "names":
        index = _by_name(subfolders, class_names)
    elif way == "numbers":
        index = _by_number(subfolders, classes)
    else:
        if classes not in (None, len(subfolders)):
            raise DataError(
                f"there are {len(subfolders)} folders ({listed(subfolders)}), the network has "
                f"{classes} classes, so that their sorted order is not the order of the classes; "
                f"name the folders as the classes ({_names()})"
            )
        index = {folder: i for i, folder in enumerate(subfolders)}
    said = tuple(subfolders) if way == "sorted" else None
    note = f"labels from the names of {len(subfolders)} folders ({way})"
    return FolderLabels([index[folder] for folder in folders], said, note)


def check_classes(
    label_names: Sequence[str] | None, classes: int | None, class_names: Sequence[str] | None = None
) -> None:
    """Refuse images whose labels do not count the network's classes in its order.

    Args:
        label_names: the classes that the labels count, where folders or a data set name them.
        classes: how many outputs the network has, if that is known.
        class_names: of the network, if they are known.

    Raises:
        DataError: another number of classes, or the same names in another order.
    """
    if label_names is None:
        return
    mend = (
        f"name the folders as its classes ({_names()}), or leave the labels out "
        f"({argument('labels', 'none')})"
    )
    if classes is not None and len(label_names) != max(classes, 2):
        raise DataError(
            f"the images are of {len(label_names)} classes, the network has {classes}, so that the "
            f"order of theirs says nothing of its own; {mend}"
        )
    ours, own = list(map(_plain, label_names)), list(map(_plain, class_names or ()))
    if ours != own and sorted(ours) == sorted(own):
        i = next(i for i, (one, other) in enumerate(zip(ours, own, strict=True)) if one != other)
        raise DataError(
            "the images' classes are the network's in another order: class "
            f"{i} is {label_names[i]!r} by their labels, {class_names[i]!r} in the network; {mend}"
        )


def _names() -> str:
    """How to say that folders are called as the network's classes."""
    return f"{argument('class_names', metavar='FILE')} and {argument('labels', 'names')}"


def _auto(
    folders: Sequence[str],
    subfolders: Sequence[str],
    outside: Sequence[str],
    class_names: Sequence[str] | None,
) -> FolderLabels:
    if len(subfolders) < 2 or outside:
        return FolderLabels()
    # A run keeps these notes, and verification compares them: they are the same in Python.
    if class_names is None:
        return FolderLabels(
            note=f"the {len(subfolders)} subfolders ({listed(subfolders)}) are not taken as "
            "classes, since the names of the network's classes are not known; --labels sorted "
            "takes them in sorted order, --class-names FILE gives the names"
        )
    known = _spelt(class_names, subfolders)
    strange = [folder for folder in subfolders if folder not in known]
    if strange:
        return FolderLabels(
            note=f"the {len(subfolders)} subfolders are not taken as classes, since "
            f"{strange[0]!r} is "
            + ("the name of several classes" if strange[0] in class_names else "no class")
            + " of the network; --labels sorted takes them in sorted order"
        )
    labels = [known[folder] for folder in folders]
    return FolderLabels(labels, note=f"labels from the names of {len(subfolders)} folders (names)")


def _by_name(subfolders: Sequence[str], class_names: Sequence[str] | None) -> dict[str, int]:
    if class_names is None:
        raise DataError(
            "the names of the network's classes are not known, so that folders cannot be matched "
            f"with them; give {argument('class_names', metavar='FILE')}, or "
            f"{argument('labels', 'sorted')}"
        )
    known = _spelt(class_names, subfolders)
    strange = [folder for folder in subfolders if folder not in known]
    shared = [folder for folder in strange if folder in class_names]
    if shared:
        numbers = [i for i, name in enumerate(class_names) if name == shared[0]]
        raise DataError(
            f"{shared[0]!r} is the name of {len(numbers)} classes of the network, "
            f"{' and '.join(map(str, numbers))}: call the folders by the numbers of their classes "
            f"({argument('labels', 'numbers')})"
        )
    if strange:
        spelt = {_plain(name): name for name in class_names}
        near = difflib.get_close_matches(_plain(strange[0]), spelt, n=1)
        hint = f"; did you mean {spelt[near[0]]!r}?" if near else ""
        raise DataError(
            f"{len(strange)} of {len(subfolders)} folders are called as no class of the network: "
            f"{listed(strange)}{hint}"
        )
    return known


def _by_number(subfolders: Sequence[str], classes: int | None) -> dict[str, int]:
    strange = [
        folder
        for folder in subfolders
        if not (folder.isascii() and folder.isdigit())
        or (classes is not None and int(folder) >= classes)
    ]
    if strange:
        to = f" to {classes - 1}" if classes else ""
        raise DataError(
            f"{len(strange)} of {len(subfolders)} folders are called as no number of a class "
            f"(0{to}): {listed(strange)}"
        )
    return {folder: int(folder) for folder in subfolders}


def _folder(name: str) -> str:
    parts = PurePosixPath(name).parts
    return parts[0] if len(parts) > 1 else ""


def _spelt(class_names: Sequence[str], folders: Sequence[str]) -> dict[str, int]:
    """The classes of those folders that are called as one: exactly, or in what counts of it.

    ImageNet has a "Cardigan" (a dog) and a "cardigan": the spelling that only counts in part says
    nothing where two classes share it.
    """
    times = Counter(class_names)
    exact = {name: i for i, name in enumerate(class_names) if times[name] == 1}
    spelt = [_plain(name) for name in class_names]
    shared = {name for name, times in Counter(spelt).items() if times > 1}
    plain = {name: i for i, name in enumerate(spelt) if name not in shared}
    matches = {folder: exact.get(folder, plain.get(_plain(folder))) for folder in folders}
    return {folder: i for folder, i in matches.items() if i is not None}


def _plain(name: str) -> str:
    """A name as files may be called: case, spaces, hyphens and underscores do not count."""
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())
