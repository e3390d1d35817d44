// The focus stays in the page when the control that had it goes, as a button does that its own action replaces.

/** Whether a key belongs to what has the focus: a field or a dialog, but not a slider or checkbox, which use no letters. */
export function isTaken(event: KeyboardEvent): boolean {
  const fields = "input:not([type=range], [type=checkbox]), textarea, select, [contenteditable], dialog";
  return event.ctrlKey || event.metaKey || event.altKey || !!(event.target as Element).closest?.(fields);
}

/** Moves the focus to the page's heading whenever what had it was removed or disabled; returns what ends that. */
export function keepFocus(): () => void {
  let last: Element | null = null;
  const remember = (event: FocusEvent) => { last = event.target as Element; };
  const forget = () => { last = null; };
  const changes = new MutationObserver(() => {
    if (!last || document.activeElement !== document.body) return;
    if (last.isConnected && !last.matches(":disabled")) return;
    last = null;
    const place = document.querySelector<HTMLElement>("h1") ?? document.querySelector<HTMLElement>("#content");
    place?.focus({ preventScroll: true });
  });
  document.addEventListener("focusin", remember);
  document.addEventListener("pointerdown", forget, true);
  changes.observe(document.body, { childList: true, subtree: true, attributeFilter: ["disabled"] });
  return () => {
    document.removeEventListener("focusin", remember);
    document.removeEventListener("pointerdown", forget, true);
    changes.disconnect();
  };
}
