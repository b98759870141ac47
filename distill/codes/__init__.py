"""The codes by hand: sounds as grids of codes that are edited, blended, heard one by one, looked at and decoded."""
