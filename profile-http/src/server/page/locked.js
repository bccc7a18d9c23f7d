const $ = (id) => document.getElementById(id);
const key = "profilez.token";

function lock(why) {
  $("lock").hidden = false;
  $("lock-error").textContent = why;
  $("token").focus();
}

async function putPageHere(token) {
  const answer = await fetch(location.pathname + location.search, {
    headers: { Authorization: `Bearer ${token}` },
    cache: "no-store",
    credentials: "omit",
    redirect: "error",
  });
  if (answer.status === 401) return lock("The server refuses this token.");
  if (!answer.ok) return lock(`The server answered ${answer.status}.`);
  const page = await answer.text();
  sessionStorage.setItem(key, token);
  document.open();
  document.write(page);
  document.close();
}

const attempt = (token) => putPageHere(token).catch((error) => lock(String(error)));

$("lock-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = $("token").value.trim();
  $("token").value = "";
  attempt(token);
});

let kept;
try { kept = sessionStorage.getItem(key); } catch { /* None is kept. */ }
if (kept) attempt(kept);
else lock("");
