// Pictures of the screens of nodes that are on and in sight: read one after another, each by a program of the site,
// and renewed each minute.

const RENEWED = 60_000;
const inSight = new Set(); // rows
const waiting = new Set(); // image elements
let isBusy = false;

const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) inSight.delete(target);
    else {
      inSight.add(target);
      renew(target.querySelector('img'));
    }
  }
});

function readNext() {
  const [image] = waiting;
  if (isBusy || !image) return;
  waiting.delete(image);
  if (!image.dataset.address) return readNext();
  isBusy = true;
  const end = (isThere) => {
    image.hidden = !isThere || !image.dataset.address;
    isBusy = false;
    readNext();
  };
  image.onload = () => end(true);
  image.onerror = () => end(false);
  image.src = `${image.dataset.address}?${Date.now()}`;
}

function renew(image) {
  const isOld = Date.now() - Number(image.dataset.at ?? 0) > RENEWED;
  if (!image.dataset.address || !isOld || document.hidden || !inSight.has(image.closest('li'))) return;
  image.dataset.at = Date.now();
  waiting.add(image);
  readNext();
}

// Has the picture at the address in the image of the row while the node is on; the last one stays until the next is there.
export function showScreen(row, node, address) {
  const image = row.querySelector('img');
  const isOn = ['on', 'paused'].includes(node.power);
  image.dataset.address = isOn ? address : '';
  if (!isOn) {
    image.hidden = true;
    delete image.dataset.at;
  }
  observer.observe(row);
  renew(image);
}
