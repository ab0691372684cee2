// What the sign-in pages add to allauth's passkey script: say in words why a passkey was not used; keep recovery codes.

const $ = (selector, root = document) => root.querySelector(selector);

const WHY = {
  NotAllowedError: "No passkey was used: it was cancelled, took too long, or there is none for this address.",
  InvalidStateError: "This device already has a passkey for your account.",
  SecurityError: "Browsers allow no passkeys at this address. Open the console by its name over https.",
  NotSupportedError: "This device cannot make such a passkey.",
  ConstraintError: "This device cannot check that it is you: set a PIN, finger or face on it first.",
};

document.addEventListener("allauth.error", (event) => {
  event.preventDefault();
  const place = $("[data-passkey-error]");
  if (!place) return;
  const error = event.detail.exception;
  place.textContent = WHY[error.name] ?? `The passkey was not used: ${error.message}`;
  place.hidden = false;
});
document.addEventListener("click", (event) => {
  if (event.target.closest("[data-passkey]")) $("[data-passkey-error]").hidden = true;
});

const codes = $("[data-codes]");
if (codes) {
  const text = () => `Forestall recovery codes for ${codes.dataset.codes} at ${location.host}\nEach works once.\n\n${[...codes.querySelectorAll("code")].map((code) => code.textContent).join("\n")}\n`;
  $("[data-download]")?.addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text()], { type: "text/plain" }));
    link.download = "forestall-recovery-codes.txt";
    link.click();
    URL.revokeObjectURL(link.href);
  });
  $("[data-print]")?.addEventListener("click", () => print());
  for (const button of document.querySelectorAll("[data-download], [data-print]")) button.hidden = false;
}
