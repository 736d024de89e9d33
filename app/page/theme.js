// The theme that was chosen here before, set before anything is drawn: a page that flashes white hurts at night.
// `?theme=dark` sets it for a link.
{
  const asked = new URLSearchParams(location.search).get("theme");
  let kept = null;
  try {
    kept = localStorage.getItem("orchard.theme");
  } catch {
    // Storage is closed to this page: the system's theme is taken.
  }
  const theme = asked ?? kept;
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
}
