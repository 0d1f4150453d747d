//! An interpreter of the pickles that PyTorch writes for state dicts. It builds dicts, lists, tuples, numbers, texts, and the
//! tensors' descriptions, and calls nothing: the few names that `torch.save` writes stand for objects that are made here, and
//! every other name and opcode is refused.

use std::collections::HashMap;

/// The place of an object in the machine: containers refer to their elements by it, so that nothing is copied.
pub(super) type Id = usize;

/// What a pickle holds.
#[derive(Clone, Debug)]
pub(super) enum Object<'a> {
    /// None, True or a float: read over.
    Other,
    False,
    Int(i64),
    /// An integer of more than 64 bits, little-endian.
    Long(&'a [u8]),
    Text(&'a str),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Name(Name),
    Storage(Storage<'a>),
    Tensor(Tensor),
}

/// A name that may stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Size,
    Storage(Element),
}

/// Elements of a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    F64,
    F32,
    F16,
    Bf16,
    /// No floats: what they are called, and how many bytes one takes.
    Other(&'static str, usize),
}

impl Element {
    pub(super) fn bytes(self) -> usize {
        match self {
            Element::F64 => 8,
            Element::F32 => 4,
            Element::F16 | Element::Bf16 => 2,
            Element::Other(_, bytes) => bytes,
        }
    }
}

/// A storage, which lies elsewhere in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storage<'a> {
    pub(super) element: Element,
    pub(super) key: &'a str,
    pub(super) elements: usize,
}

/// A view of a storage.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    pub(super) storage: Id,
    pub(super) offset: usize,
    pub(super) size: Vec<usize>,
    pub(super) stride: Vec<usize>,
}

/// The most opcodes of a file; those of a state dict are about 40 for each tensor.
const MOST_STEPS: usize = 1 << 21;
/// The most axes of a tensor.
const MOST_AXES: usize = 8;

/// The objects of a file's pickles.
#[derive(Default)]
pub(super) struct Machine<'a> {
    objects: Vec<Object<'a>>,
    steps: usize,
}

/// One pickle while it is read.
struct Reading<'a> {
    bytes: &'a [u8],
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

type Result<T> = std::result::Result<T, String>;

impl<'a> Machine<'a> {
    pub(super) fn object(&self, id: Id) -> &Object<'a> {
        self.objects.get(id).unwrap_or(&Object::Other)
    }

    pub(super) fn text(&self, id: Id) -> Option<&'a str> {
        match self.object(id) {
            Object::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The entry of a dict that has this name.
    pub(super) fn entry(&self, dict: Id, name: &str) -> Option<Id> {
        let Object::Dict(entries) = self.object(dict) else { return None };
        entries.iter().find(|(key, _)| self.text(*key) == Some(name)).map(|&(_, value)| value)
    }

    pub(super) fn storages(&self) -> impl Iterator<Item = &Storage<'a>> {
        self.objects.iter().filter_map(|object| match object {
            Object::Storage(storage) => Some(storage),
            _ => None,
        })
    }

    /// Reads one pickle; gives what it holds, and the bytes behind it.
    pub(super) fn read(&mut self, bytes: &'a [u8]) -> Result<(Id, &'a [u8])> {
        let mut reading = Reading { bytes, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
        loop {
            self.steps += 1;
            if self.steps > MOST_STEPS {
                return Err(format!("it has more than {MOST_STEPS} instructions, as no state dict has"));
            }
            let code = reading.byte()?;
            if code == b'.' {
                return Ok((reading.pop()?, reading.bytes));
            }
            self.step(code, &mut reading)?;
        }
    }

    fn push(&mut self, reading: &mut Reading<'a>, object: Object<'a>) {
        reading.stack.push(self.objects.len());
        self.objects.push(object);
    }

    fn step(&mut self, code: u8, reading: &mut Reading<'a>) -> Result<()> {
        let made = match code {
            // PROTO; FRAME only says how long the next part is.
            0x80 => return reading.take(1).map(drop),
            0x95 => return reading.take(8).map(drop),
            b'(' => {
                reading.marks.push(reading.stack.len());
                return Ok(());
            }
            b'q' | b'r' | 0x94 | b'h' | b'j' => return reading.remember(code),
            b'N' | 0x88 => Object::Other,
            0x89 => Object::False,
            b'G' => reading.take(8).map(|_| Object::Other)?,
            b'K' => Object::Int(reading.byte()?.into()),
            b'M' => Object::Int(u16::from_le_bytes(reading.array()?).into()),
            b'J' => Object::Int(i32::from_le_bytes(reading.array()?).into()),
            0x8a => reading.long()?,
            b'X' | 0x8c | b'U' => reading.text(code)?,
            b'}' => Object::Dict(Vec::new()),
            b']' => Object::List(Vec::new()),
            b')' => Object::Tuple(Vec::new()),
            b't' => Object::Tuple(reading.since_mark()?),
            0x85..=0x87 => Object::Tuple(reading.last(usize::from(code - 0x84))?),
            b'u' | b's' | b'e' | b'a' => return self.fill(code, reading),
            b'c' | 0x93 => self.name(code, reading)?,
            b'Q' => self.storage(reading)?,
            b'R' => return self.reduce(reading),
            b'b' => return self.build(reading),
            other => {
                return Err(format!(
                    "its instruction {other:#04x} is none that state dicts have: nothing of a file is executed"
                ));
            }
        };
        self.push(reading, made);
        Ok(())
    }

    /// SETITEMS, SETITEM, APPENDS, APPEND.
    fn fill(&mut self, code: u8, reading: &mut Reading<'a>) -> Result<()> {
        let items = match code {
            b'u' | b'e' => reading.since_mark()?,
            b's' => reading.last(2)?,
            _ => reading.last(1)?,
        };
        let target = reading.stack.last().and_then(|&id| self.objects.get_mut(id));
        match (code, target) {
            (b'u' | b's', Some(Object::Dict(entries))) => {
                entries.extend(items.as_chunks::<2>().0.iter().map(|&[key, value]| (key, value)));
            }
            (b'e' | b'a', Some(Object::List(elements))) => elements.extend(items),
            _ => return Err("it puts elements into what is no list or dict".into()),
        }
        Ok(())
    }

    /// GLOBAL, STACK_GLOBAL: a name, which must be known.
    fn name(&self, code: u8, reading: &mut Reading<'a>) -> Result<Object<'a>> {
        let (module, name) = match code {
            b'c' => (reading.line()?, reading.line()?),
            _ => {
                let words = reading.last(2)?;
                match words.iter().map(|&id| self.text(id)).collect::<Vec<_>>()[..] {
                    [Some(module), Some(name)] => (module, name),
                    _ => return Err("a name in it is no text".into()),
                }
            }
        };
        let storage = |element| Name::Storage(element);
        Ok(Object::Name(match (module, name) {
            ("collections", "OrderedDict") => Name::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Name::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Name::RebuildParameter,
            ("torch", "Size") => Name::Size,
            ("torch", "DoubleStorage") => storage(Element::F64),
            ("torch", "FloatStorage") => storage(Element::F32),
            ("torch", "HalfStorage") => storage(Element::F16),
            ("torch", "BFloat16Storage") => storage(Element::Bf16),
            ("torch", "LongStorage") => storage(Element::Other("I64", 8)),
            ("torch", "IntStorage") => storage(Element::Other("I32", 4)),
            ("torch", "ShortStorage") => storage(Element::Other("I16", 2)),
            ("torch", "CharStorage") => storage(Element::Other("I8", 1)),
            ("torch", "ByteStorage") => storage(Element::Other("U8", 1)),
            ("torch", "BoolStorage") => storage(Element::Other("BOOL", 1)),
            _ => {
                let shown: String = format!("{module}.{name}").escape_default().take(120).collect();
                return Err(format!(
                    "it asks for `{shown}`, and nothing of a file is executed: save the weights alone \
                     (torch.save(model.state_dict(), …))"
                ));
            }
        }))
    }

    /// BINPERSID: ("storage", type, key, location, elements), and in old files a view, which must be none.
    fn storage(&self, reading: &mut Reading<'a>) -> Result<Object<'a>> {
        let id = reading.pop()?;
        let Object::Tuple(parts) = self.object(id) else { return Err("a storage in it has no description".into()) };
        let whole = parts.get(5).is_none_or(|&view| matches!(self.object(view), Object::Other));
        let found: Vec<&Object<'_>> = parts.iter().take(5).map(|&part| self.object(part)).collect();
        match found[..] {
            [
                Object::Text("storage"),
                Object::Name(Name::Storage(element)),
                Object::Text(key),
                _,
                Object::Int(elements),
            ] if whole => {
                let elements = usize::try_from(*elements).map_err(|_| "a storage in it has a negative size")?;
                Ok(Object::Storage(Storage { element: *element, key, elements }))
            }
            _ => Err("a storage in it is described as PyTorch does not describe one".into()),
        }
    }

    /// REDUCE: the object that a known name makes of its arguments.
    fn reduce(&mut self, reading: &mut Reading<'a>) -> Result<()> {
        let (arguments, name) = (reading.pop()?, reading.pop()?);
        let (Object::Name(name), Object::Tuple(arguments)) = (self.object(name), self.object(arguments)) else {
            return Err("it calls what is no name".into());
        };
        let made = match (name, arguments.as_slice()) {
            (Name::OrderedDict, []) => Object::Dict(Vec::new()),
            (Name::OrderedDict, &[items]) => Object::Dict(self.pairs(items)?),
            (Name::RebuildTensor, &[storage, offset, size, stride, ..]) => {
                self.tensor(storage, offset, [size, stride])?
            }
            (Name::RebuildParameter | Name::Size, &[first, ..]) => {
                reading.stack.push(first);
                return Ok(());
            }
            _ => return Err(format!("{name:?} has other arguments than PyTorch gives it")),
        };
        self.push(reading, made);
        Ok(())
    }

    /// Keys and values that are a list of pairs, as Python 2 wrote them.
    fn pairs(&self, items: Id) -> Result<Vec<(Id, Id)>> {
        let Object::List(items) = self.object(items) else { return Err("a dict in it is made of no list".into()) };
        let pair = |&item: &Id| match self.object(item) {
            Object::Tuple(pair) | Object::List(pair) => <[Id; 2]>::try_from(pair.as_slice()).ok().map(|[k, v]| (k, v)),
            _ => None,
        };
        items.iter().map(pair).collect::<Option<_>>().ok_or_else(|| "a dict in it is made of no pairs".into())
    }

    fn tensor(&self, storage: Id, offset: Id, shape: [Id; 2]) -> Result<Object<'a>> {
        let number = |id: Id| match self.object(id) {
            Object::Int(value) => usize::try_from(*value).ok(),
            _ => None,
        };
        let numbers = |id: Id| match self.object(id) {
            Object::Tuple(ids) => ids.iter().map(|&id| number(id)).collect::<Option<Vec<usize>>>(),
            _ => None,
        };
        match (self.object(storage), number(offset), shape.map(numbers)) {
            (Object::Storage(_), Some(offset), [Some(size), Some(stride)])
                if size.len() == stride.len() && size.len() <= MOST_AXES =>
            {
                Ok(Object::Tensor(Tensor { storage, offset, size, stride }))
            }
            _ => Err("a tensor in it is described as PyTorch does not describe one".into()),
        }
    }

    /// BUILD: attributes of a dict (`_metadata`), which are not needed.
    fn build(&self, reading: &mut Reading<'a>) -> Result<()> {
        reading.pop()?;
        match reading.stack.last().map(|&id| self.object(id)) {
            Some(Object::Dict(_) | Object::Tensor(_)) => Ok(()),
            _ => Err("it sets the state of what is no dict".into()),
        }
    }
}

impl<'a> Reading<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or("it is cut short")?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or("it is cut short")?;
        self.bytes = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    fn utf8(bytes: &'a [u8]) -> Result<&'a str> {
        str::from_utf8(bytes).map_err(|_| "a text in it is no text".to_owned())
    }

    /// BINUNICODE, SHORT_BINUNICODE, SHORT_BINSTRING.
    fn text(&mut self, code: u8) -> Result<Object<'a>> {
        let length = match code {
            b'X' => u32::from_le_bytes(self.array()?) as usize,
            _ => self.byte()?.into(),
        };
        self.take(length).and_then(Self::utf8).map(Object::Text)
    }

    /// Up to the end of the line.
    fn line(&mut self) -> Result<&'a str> {
        let end = self.bytes.iter().take(1 << 10).position(|&byte| byte == b'\n').ok_or("a name in it has no end")?;
        let line = self.take(end)?;
        self.byte()?;
        Self::utf8(line)
    }

    /// LONG1.
    fn long(&mut self) -> Result<Object<'a>> {
        let length = self.byte()?;
        let bytes = self.take(length.into())?;
        if bytes.len() > 8 {
            return Ok(Object::Long(bytes));
        }
        // Two's complement: the top bit of the last byte is the sign.
        let fill = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
        let mut value = [fill; 8];
        value[..bytes.len()].copy_from_slice(bytes);
        Ok(Object::Int(i64::from_le_bytes(value)))
    }

    /// BINPUT, LONG_BINPUT, MEMOIZE; BINGET, LONG_BINGET.
    fn remember(&mut self, code: u8) -> Result<()> {
        let place = match code {
            b'q' | b'h' => self.byte()?.into(),
            b'r' | b'j' => u32::from_le_bytes(self.array()?),
            _ => self.memo.len() as u32,
        };
        if matches!(code, b'h' | b'j') {
            let found = self.memo.get(&place).ok_or("it asks for an object that it does not hold")?;
            self.stack.push(*found);
        } else {
            let last = self.stack.last().ok_or("it ends too early")?;
            self.memo.insert(place, *last);
        }
        Ok(())
    }

    fn pop(&mut self) -> Result<Id> {
        self.stack.pop().ok_or_else(|| "it takes an object that it does not hold".into())
    }

    fn last(&mut self, count: usize) -> Result<Vec<Id>> {
        let start = self.stack.len().checked_sub(count).ok_or("it takes an object that it does not hold")?;
        Ok(self.stack.split_off(start))
    }

    fn since_mark(&mut self) -> Result<Vec<Id>> {
        let start = self.marks.pop().filter(|&start| start <= self.stack.len()).ok_or("a mark is missing in it")?;
        Ok(self.stack.split_off(start))
    }
}
