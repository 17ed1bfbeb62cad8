//! One recorded case: reading its arguments, comparing results.

use serde_json::Value;

/// A case of a file.
pub struct Case<'a>(&'a Value);

/// What a function gave for one expected name.
pub enum Got {
    /// Floats; scalars have one.
    Floats(Vec<f64>),
    /// Integers; scalars have one.
    Integers(Vec<i128>),
    /// Bit patterns of binary16, where any NaN equals any other.
    Half(Vec<u16>),
    /// Bit patterns of binary32, likewise.
    Single(Vec<u32>),
    /// A string.
    Text(String),
}

/// Results by the names of the file.
pub type Results = Vec<(&'static str, Got)>;

/// Runs a case.
pub type Handler = fn(&Case) -> Results;

pub fn floats(values: &[f32]) -> Got {
    Got::Floats(values.iter().map(|&x| f64::from(x)).collect())
}

pub fn float(value: f32) -> Got {
    floats(&[value])
}

pub fn integers<T: Copy + Into<i128>>(values: &[T]) -> Got {
    Got::Integers(values.iter().map(|&x| x.into()).collect())
}

impl<'a> Case<'a> {
    pub fn new(value: &'a Value) -> Self {
        Self(value)
    }

    fn arg(&self, name: &str) -> &'a Value {
        &self.0["args"][name]
    }

    /// Whether there is such an argument.
    pub fn has(&self, name: &str) -> bool {
        self.0["args"].get(name).is_some()
    }

    fn list<T>(&self, name: &str, read: impl Fn(&Value) -> Option<T>) -> Vec<T> {
        let list = self.arg(name).as_array();
        let values: Option<_> = list.and_then(|list| list.iter().map(read).collect());
        values.unwrap_or_else(|| panic!("argument {name}"))
    }

    pub fn f64s(&self, name: &str) -> Vec<f64> {
        self.list(name, Value::as_f64)
    }

    pub fn f32s(&self, name: &str) -> Vec<f32> {
        self.list(name, |x| x.as_f64().map(|x| x as f32))
    }

    pub fn f32(&self, name: &str) -> f32 {
        self.arg(name).as_f64().unwrap_or_else(|| panic!("argument {name}")) as f32
    }

    pub fn u64s(&self, name: &str) -> Vec<u64> {
        self.list(name, Value::as_u64)
    }

    pub fn u32s(&self, name: &str) -> Vec<u32> {
        self.list(name, |x| x.as_u64()?.try_into().ok())
    }

    pub fn i32s(&self, name: &str) -> Vec<i32> {
        self.list(name, |x| x.as_i64()?.try_into().ok())
    }

    /// An integer of whatever type the function takes.
    pub fn int<T: TryFrom<i128>>(&self, name: &str) -> T {
        let value = self.arg(name);
        let wide = value.as_i64().map(i128::from).or(value.as_u64().map(i128::from));
        let fits = wide.and_then(|n| T::try_from(n).ok());
        fits.unwrap_or_else(|| panic!("argument {name}"))
    }

    pub fn text(&self, name: &str) -> &'a str {
        self.arg(name).as_str().unwrap_or_else(|| panic!("argument {name}"))
    }

    /// How many values were compared, or the first that is off.
    pub fn compare(&self, results: &Results) -> Result<usize, String> {
        let expect = self.0["expect"].as_object().ok_or("no expectations")?;
        if expect.len() != results.len() {
            return Err(format!("{} results for {} names", results.len(), expect.len()));
        }
        let (rtol, atol) = (self.tolerance("rtol"), self.tolerance("atol"));
        let mut compared = 0;
        for (name, got) in results {
            let want = expect.get(*name).ok_or_else(|| format!("{name} is not expected"))?;
            let scalar = std::slice::from_ref(want);
            let want = want.as_array().map_or(scalar, Vec::as_slice);
            if want.len() != got.len() {
                return Err(format!("{name}: {} values, not {}", got.len(), want.len()));
            }
            for (i, want) in want.iter().enumerate() {
                got.check(i, want, rtol, atol).map_err(|e| format!("{name}[{i}]: {e}"))?;
                compared += 1;
            }
        }
        Ok(compared)
    }

    fn tolerance(&self, name: &str) -> f64 {
        self.0[name].as_f64().unwrap_or_else(|| panic!("no {name}"))
    }
}

impl Got {
    fn len(&self) -> usize {
        match self {
            Self::Floats(x) => x.len(),
            Self::Integers(x) => x.len(),
            Self::Half(x) => x.len(),
            Self::Single(x) => x.len(),
            Self::Text(_) => 1,
        }
    }

    fn check(&self, i: usize, want: &Value, rtol: f64, atol: f64) -> Result<(), String> {
        let bits = want.as_u64();
        let (got, good) = match self {
            Self::Floats(x) => {
                let expected = want.as_f64().ok_or("not a number")?;
                let near = (x[i] - expected).abs() <= atol + rtol * expected.abs();
                (x[i].to_string(), near)
            }
            Self::Integers(x) => {
                let expected = want.as_i64().map(i128::from).or(bits.map(i128::from));
                (x[i].to_string(), expected == Some(x[i]))
            }
            Self::Half(x) => {
                let nan = |b: u64| b & 0x7FFF > 0x7C00;
                let same = |b| b == u64::from(x[i]) || (nan(b) && nan(x[i].into()));
                (x[i].to_string(), bits.is_some_and(same))
            }
            Self::Single(x) => {
                let nan = |b: u64| b & 0x7FFF_FFFF > 0x7F80_0000;
                let same = |b| b == u64::from(x[i]) || (nan(b) && nan(x[i].into()));
                (x[i].to_string(), bits.is_some_and(same))
            }
            Self::Text(x) => (x.clone(), want.as_str() == Some(x)),
        };
        if good { Ok(()) } else { Err(format!("{got}, expected {want}")) }
    }
}
