"""Looks of all pages for people: colours for light and dark, shared by reports and console; texts have a contrast of 4.5."""

from typing import Final

TOKENS: Final = """:root{color-scheme:light dark;--ink:#1d2733;--soft:#4f5e6d;--line:#dde3ea;--box:#eef3f8;--paper:#fff;
--c0:#2868b0;--c1:#a85208;--c2:#24703f;--c3:#85489b;--c4:#5b6772;--c5:#b0323f}
@media(prefers-color-scheme:dark){:root{--ink:#dce4ec;--soft:#a1afbd;--line:#2d3945;--box:#1c2631;--paper:#12181f;
--c0:#6cabf2;--c1:#f0a35e;--c2:#6cc48c;--c3:#c79add;--c4:#9aa9b7;--c5:#f08a95}}
html{background:var(--paper)}"""
