//! Parquet files of plain columns: one row group, one uncompressed page a column, plain encoding. polars' own writer would
//! add half a minute to every build of the notebook crates; this much of the format is a page.
//!
//! Format: <https://parquet.apache.org/docs/file-format/>; metadata in Thrift's compact protocol.

use super::export::Plain;

const MAGIC: &[u8] = b"PAR1";
// Physical types, and what a byte array is meant as.
const INT64: i64 = 2;
const DOUBLE: i64 = 5;
const BYTE_ARRAY: i64 = 6;
const UTF8: i64 = 0;
const OPTIONAL: i64 = 1;
// Encodings.
const PLAIN: i64 = 0;
const RLE: i64 = 3;

/// A file of columns, each with `rows` cells.
pub(super) fn file(columns: &[(String, Plain)], rows: usize) -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    let mut chunks = vec![];
    for (name, column) in columns {
        let offset = file.len() as i64;
        let page = page(column);
        let mut head = Compact::default();
        head.int(1, 0).int(2, page.len() as i64).int(3, page.len() as i64);
        head.nested(5, |head| {
            head.int(1, rows as i64).int(2, PLAIN).int(3, RLE).int(4, RLE);
        });
        file.extend(head.ended());
        file.extend(&page);
        chunks.push((name, physical(column), offset, file.len() as i64 - offset));
    }
    let mut end = Compact::default();
    end.int(1, 1);
    end.list(2, columns.len() + 1, |index| {
        let mut element = Compact::default();
        match index.checked_sub(1).and_then(|index| columns.get(index)) {
            None => element.text(4, "schema").int(5, columns.len() as i64),
            Some((name, column)) => {
                element.int(1, physical(column)).int(3, OPTIONAL).text(4, name);
                if matches!(column, Plain::Texts(_)) { element.int(6, UTF8) } else { &mut element }
            }
        };
        element
    });
    end.long(3, rows as i64);
    end.list(4, 1, |_| {
        let mut group = Compact::default();
        group.list(1, chunks.len(), |index| chunk(&chunks[index], rows as i64));
        group.long(2, chunks.iter().map(|(.., size)| size).sum()).long(3, rows as i64);
        group
    });
    end.text(6, "cryptgpu");
    let end = end.ended();
    file.extend(&end);
    file.extend((end.len() as u32).to_le_bytes());
    file.extend(MAGIC);
    file
}

fn physical(column: &Plain) -> i64 {
    match column {
        Plain::Numbers(_) => DOUBLE,
        Plain::Counts(_) => INT64,
        Plain::Texts(_) => BYTE_ARRAY,
    }
}

fn chunk((name, kind, offset, size): &(&String, i64, i64, i64), rows: i64) -> Compact {
    let mut chunk = Compact::default();
    chunk.long(2, *offset);
    chunk.nested(3, |data| {
        data.int(1, *kind).ints(2, &[PLAIN, RLE]).texts(3, name).int(4, 0);
        data.long(5, rows).long(6, *size).long(7, *size).long(9, *offset);
    });
    chunk
}

/// Which cells are there, then those that are.
fn page(column: &Plain) -> Vec<u8> {
    fn cells<T>(cells: &[Option<T>], write: impl Fn(&T) -> Vec<u8>) -> Vec<u8> {
        // Runs of eight levels of one bit each.
        let groups = cells.chunks(8);
        let mut levels = varint((groups.len() as u64) << 1 | 1);
        levels.extend(groups.map(|group| {
            group.iter().enumerate().fold(0u8, |byte, (bit, cell)| byte | u8::from(cell.is_some()) << bit)
        }));
        let mut page = (levels.len() as u32).to_le_bytes().to_vec();
        page.extend(levels);
        cells.iter().flatten().for_each(|cell| page.extend(write(cell)));
        page
    }
    match column {
        Plain::Numbers(numbers) => cells(numbers, |number| number.to_le_bytes().to_vec()),
        Plain::Counts(counts) => cells(counts, |count| count.to_le_bytes().to_vec()),
        Plain::Texts(texts) => cells(texts, |text| [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()),
    }
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = vec![];
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// A struct of Thrift's compact protocol, its fields in ascending order.
#[derive(Default)]
struct Compact {
    bytes: Vec<u8>,
    last: u8,
}

impl Compact {
    const I32: u8 = 5;
    const I64: u8 = 6;
    const BINARY: u8 = 8;
    const LIST: u8 = 9;
    const STRUCT: u8 = 12;

    fn field(&mut self, field: u8, kind: u8) {
        self.bytes.push((field - self.last) << 4 | kind);
        self.last = field;
    }

    fn number(&mut self, number: i64) {
        self.bytes.extend(varint((number << 1 ^ number >> 63) as u64));
    }

    fn int(&mut self, field: u8, number: i64) -> &mut Self {
        self.field(field, Self::I32);
        self.number(number);
        self
    }

    fn long(&mut self, field: u8, number: i64) -> &mut Self {
        self.field(field, Self::I64);
        self.number(number);
        self
    }

    fn bytes_of(&mut self, text: &str) {
        self.bytes.extend(varint(text.len() as u64));
        self.bytes.extend(text.as_bytes());
    }

    fn text(&mut self, field: u8, text: &str) -> &mut Self {
        self.field(field, Self::BINARY);
        self.bytes_of(text);
        self
    }

    fn list_head(&mut self, field: u8, length: usize, kind: u8) {
        self.field(field, Self::LIST);
        match length {
            0..15 => self.bytes.push((length as u8) << 4 | kind),
            _ => {
                self.bytes.push(0xf0 | kind);
                self.bytes.extend(varint(length as u64));
            }
        }
    }

    fn ints(&mut self, field: u8, numbers: &[i64]) -> &mut Self {
        self.list_head(field, numbers.len(), Self::I32);
        numbers.iter().for_each(|&number| self.number(number));
        self
    }

    /// A list of one text.
    fn texts(&mut self, field: u8, text: &str) -> &mut Self {
        self.list_head(field, 1, Self::BINARY);
        self.bytes_of(text);
        self
    }

    fn nested(&mut self, field: u8, write: impl FnOnce(&mut Compact)) {
        self.field(field, Self::STRUCT);
        let mut nested = Compact::default();
        write(&mut nested);
        self.bytes.extend(nested.ended());
    }

    fn list(&mut self, field: u8, length: usize, element: impl Fn(usize) -> Compact) {
        self.list_head(field, length, Self::STRUCT);
        (0..length).for_each(|index| self.bytes.extend(element(index).ended()));
    }

    fn ended(mut self) -> Vec<u8> {
        self.bytes.push(0);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// pyarrow has read this file and gave the columns back; after a change it has to do so again.
    #[test]
    fn a_file_is_what_other_programs_read() {
        let columns = [
            ("x".to_owned(), Plain::Numbers(vec![Some(0.5), None])),
            ("n".to_owned(), Plain::Counts(vec![Some(7), Some(-1)])),
            ("t".to_owned(), Plain::Texts(vec![None, Some("µ".into())])),
        ];
        let file = file(&columns, 2);
        let hex: String = file.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, READ_BY_PYARROW);
    }

    const READ_BY_PYARROW: &str = "\
         504152311500151c151c2c15041500150615060000020000000301000000000000e03f1500152c152c2c150415001506\
         150600000200000003030700000000000000ffffffffffffffff1500151815182c150415001506150600000200000003\
         0202000000c2b51502194c4806736368656d61150600150a2502180178001504250218016e00150c2502180174250000\
         1604191c193c26081c150a192500061918017815001604163e163e2608000026461c1504192500061918016e15001604\
         164e164e264600002694011c150c192500061918017415001604163a163a269401000016c60116040028086372797074\
         677075008d00000050415231";
}
