// The theme that was chosen here before, set before anything is drawn: a page that flashes white hurts at night.
{
  let kept = null;
  try {
    kept = localStorage.getItem("orchard.theme");
  } catch {
    // Storage is closed to this page: the system's theme is taken.
  }
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
}
