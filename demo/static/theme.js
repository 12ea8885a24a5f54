// Sets the colours before the first paint, which is why it is not a module: the person's choice, or the system's.
{
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const chosen = localStorage.getItem("surgvl.theme");
    document.documentElement.dataset.theme = chosen ?? (dark.matches ? "dark" : "light");
  };
  dark.addEventListener("change", apply);
  document.addEventListener("surgvl:theme", apply);
  apply();
}
