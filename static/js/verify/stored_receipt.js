// "Verify in this browser" on a receipt's page: downloads the exact bytes and checks them here.

import { cannotVerify, checkReceipt } from "./receipt.js";
import { showChecks, showProblem } from "./verdict.js";

export default function storedReceipt(section) {
  const button = section.querySelector("button");
  const result = section.querySelector("[data-result]");
  const { raw, key, sha256, node, request } = section.dataset;
  button.addEventListener("click", async () => {
    result.replaceChildren(); // an earlier verdict is not about what is downloaded now
    const problem = cannotVerify();
    if (problem) return showProblem(result, problem);
    button.disabled = true;
    try {
      const answer = await fetch(raw, { cache: "no-store" });
      if (!answer.ok) return showProblem(result, `The receipt could not be downloaded (status ${answer.status}).`);
      const bytes = new Uint8Array(await answer.arrayBuffer());
      showChecks(result, await checkReceipt(bytes, key, { sha256, node_id: node, request_id: request }), {
        valid: "Valid, as computed in this browser. Compare the key with the one that the node’s operator gave you.",
        invalid: "Not valid, as computed in this browser.",
      });
    } catch (error) {
      showProblem(result, `The receipt could not be checked: ${error.message}`);
    } finally {
      button.disabled = false;
    }
  });
  button.disabled = false;
}
