// The form that finds a receipt by its file: a file that is chosen, or dropped anywhere on the page, is sent at once.

export default function receiptFile(form) {
  const input = form.elements.file;
  const menu = form.closest("details");
  const carriesFile = (event) => event.dataTransfer?.types.includes("Files");
  const send = () => input.files.length && form.requestSubmit();

  input.addEventListener("change", send);
  document.addEventListener("dragover", (event) => {
    if (!carriesFile(event) || document.querySelector("dialog[open]")) return;
    event.preventDefault(); // else the browser would open the file in place of the page
    if (menu) menu.open = true;
    form.dataset.over = "";
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) delete form.dataset.over; // it has left the window
  });
  document.addEventListener("drop", (event) => {
    if (!carriesFile(event) || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    delete form.dataset.over;
    input.files = event.dataTransfer.files;
    send();
  });
}
