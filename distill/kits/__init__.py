"""Kits: many short sounds on pads, in the formats that samplers read."""
