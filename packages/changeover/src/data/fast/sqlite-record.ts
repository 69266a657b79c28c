/** Kinds of pages and sizes of what is in them: https://www.sqlite.org/fileformat2.html#b_tree_pages */
const INTERIOR_TABLE = 5;
const INTERIOR_HEADER_BYTES = 12;
const LEAF_HEADER_BYTES = 8;

/**
 * The rows of one table, in the order of their row ids, out of the pages of a database file that nobody writes to. One row at a time: its
 * values stay where they are, and `types` and `starts` say what and where in `bytes` they are.
 *
 * Written for speed: it runs once for every value of a table.
 */
export class RecordReader {
  /** What the current row's values lie in. */
  bytes: Buffer = Buffer.alloc(0);
  view: DataView = viewOf(this.bytes);
  /** Serial types of the current row: https://www.sqlite.org/fileformat2.html#record_format */
  readonly types: Int32Array;
  readonly starts: Int32Array;
  /** Bytes of the current row. */
  size = 0;
  #pages: Buffer = this.bytes;
  #pagesView: DataView = this.view;
  #pageBytes = 0;
  readonly #leaves: number[] = [];
  #leaf = 0;
  #cell = 0;
  #cells = 0;
  /** A row that is spread over several pages, put together. */
  #whole: Buffer = Buffer.alloc(0);
  #wholeView: DataView = this.view;
  /** Where the last varint ended. */
  #end = 0;

  constructor(columns: number) {
    this.types = new Int32Array(columns);
    this.starts = new Int32Array(columns);
  }

  /** Starts with the first row of the table whose root is page `root`. */
  open(pages: Buffer, pageBytes: number, root: number): void {
    if (pages !== this.#pages) {
      this.#pages = pages;
      this.#pagesView = viewOf(pages);
    }
    this.#pageBytes = pageBytes;
    this.#leaves.length = 0;
    this.#collect(root);
    this.#leaf = 0;
    this.#enter();
  }

  /** False after the last row. */
  next(): boolean {
    while (this.#cell === this.#cells) {
      this.#leaf += 1;
      if (this.#leaf >= this.#leaves.length) return false;
      this.#enter();
    }
    const page = this.#leaves[this.#leaf] ?? 0;
    const pointer = page + LEAF_HEADER_BYTES + 2 * this.#cell++;
    this.#read(page + this.#pagesView.getUint16(pointer));
    return true;
  }

  #enter(): void {
    this.#cell = 0;
    this.#cells = this.#pagesView.getUint16((this.#leaves[this.#leaf] ?? 0) + 3);
  }

  #collect(page: number): void {
    const start = (page - 1) * this.#pageBytes;
    if (this.#pages[start] !== INTERIOR_TABLE) {
      this.#leaves.push(start);
      return;
    }
    const cells = this.#pagesView.getUint16(start + 3);
    for (let cell = 0; cell < cells; cell++) {
      const at = this.#pagesView.getUint16(start + INTERIOR_HEADER_BYTES + 2 * cell);
      this.#collect(this.#pagesView.getUint32(start + at));
    }
    this.#collect(this.#pagesView.getUint32(start + 8));
  }

  #read(cell: number): void {
    const pages = this.#pages;
    this.bytes = pages;
    this.view = this.#pagesView;
    const size = this.#varint(pages, cell);
    this.size = size;
    let at = this.#end;
    while ((pages[at++] ?? 0) > 127);
    if (size > this.#pageBytes - 35) at = this.#join(at, size);
    const { bytes, types, starts } = this;
    let value = at + this.#varint(bytes, at);
    let header = this.#end;
    for (let column = 0; column < types.length; column++) {
      let type = bytes[header++] ?? 0;
      if (type > 127) {
        type = this.#varint(bytes, header - 1);
        header = this.#end;
      }
      types[column] = type;
      starts[column] = value;
      value += type < 12 ? (FIXED_BYTES[type] ?? 0) : (type - 12) >> 1;
    }
  }

  /** Puts a row together of which only the beginning lies in its cell: https://www.sqlite.org/fileformat2.html#cell_payload_overflow_pages */
  #join(start: number, size: number): number {
    const usable = this.#pageBytes;
    const least = Math.floor(((usable - 12) * 32) / 255) - 23;
    const fitting = least + ((size - least) % (usable - 4));
    if (size > this.#whole.length) {
      this.#whole = Buffer.allocUnsafeSlow(size);
      this.#wholeView = viewOf(this.#whole);
    }
    let done = fitting <= usable - 35 ? fitting : least;
    this.#pages.copy(this.#whole, 0, start, start + done);
    let page = this.#pagesView.getUint32(start + done);
    while (done < size) {
      const from = (page - 1) * usable;
      const bytes = Math.min(usable - 4, size - done);
      this.#pages.copy(this.#whole, done, from + 4, from + 4 + bytes);
      done += bytes;
      page = this.#pagesView.getUint32(from);
    }
    this.bytes = this.#whole;
    this.view = this.#wholeView;
    return 0;
  }

  /** https://www.sqlite.org/fileformat2.html#varint, of at most eight bytes: no size is larger. */
  #varint(bytes: Buffer, at: number): number {
    let value = 0;
    for (;;) {
      const byte = bytes[at++] ?? 0;
      value = value * 128 + (byte & 127);
      if (byte < 128) break;
    }
    this.#end = at;
    return value;
  }
}

/** Bytes of the serial types below 12. */
const FIXED_BYTES = [0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0];

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
