// Nothing on the page can be touched before it shows what was on it: that would take the place of what was chosen
// since.
document.documentElement.inert = true;
