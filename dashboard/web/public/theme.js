// Runs before the first paint, so that a chosen theme or density does not flash as the other one. A file of its own because the
// page's Content-Security-Policy forbids inline scripts.
try {
  const theme = localStorage.getItem('pulsewire.theme');
  if (theme === 'dark' || theme === 'light') document.documentElement.dataset.theme = theme;
  if (localStorage.getItem('pulsewire.density') === 'compact') document.documentElement.dataset.density = 'compact';
} catch {
  // Storage is switched off: the system's theme applies.
}
