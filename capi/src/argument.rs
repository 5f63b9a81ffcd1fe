//! What C passes, looked at before it is used: the only place that follows pointers.

use crate::Status;
use crate::failure::Failure;
use std::ffi::{CStr, c_char};
use std::mem::MaybeUninit;

/// What a pointer points to.
pub fn given<T>(pointer: Option<T>, what: &str) -> Result<T, Failure> {
    pointer.ok_or_else(|| Failure::new(Status::Argument, format!("`{what}` is null")))
}

/// Where a result goes, empty until there is one.
pub fn place<'a, T>(
    pointer: Option<&'a mut MaybeUninit<Option<T>>>,
    what: &str,
) -> Result<&'a mut Option<T>, Failure> {
    // What lies there is C's and may be anything: it is written over, not dropped.
    Ok(given(pointer, what)?.write(None))
}

/// A text that ends with a zero.
///
/// # Safety
/// Null, or a pointer to such a text, which outlives `'a`.
pub unsafe fn text<'a>(pointer: *const c_char, what: &str) -> Result<&'a CStr, Failure> {
    given((!pointer.is_null()).then_some(()), what)?;
    // SAFETY: not null, so it is a text that ends, as the caller promises.
    Ok(unsafe { CStr::from_ptr(pointer) })
}

/// So many values that lie side by side.
///
/// # Safety
/// Null, or a pointer to so many values, which outlive `'a` and which nobody writes meanwhile.
pub unsafe fn many<'a, T>(pointer: *const T, count: usize, what: &str) -> Result<&'a [T], Failure> {
    if count == 0 {
        return Ok(&[]);
    }
    given((!pointer.is_null()).then_some(()), what)?;
    let fits = count
        .checked_mul(size_of::<T>())
        .is_some_and(|bytes| isize::try_from(bytes).is_ok());
    if !fits || !pointer.is_aligned() {
        let words = format!("`{what}`: {count} values cannot lie at {pointer:p}");
        return Err(Failure::new(Status::Argument, words));
    }
    // SAFETY: not null, aligned and of a size that can be addressed; so many values are there, as the caller promises.
    Ok(unsafe { std::slice::from_raw_parts(pointer, count) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_that_cannot_be_followed_are_refused() {
        let values = [1u32, 2, 3];
        // SAFETY: null, three values, or what is refused by its count or its address.
        unsafe {
            assert_eq!(many(values.as_ptr(), 3, "values").unwrap(), values);
            assert!(
                many(std::ptr::null::<u32>(), 0, "values")
                    .unwrap()
                    .is_empty()
            );
            assert!(many(std::ptr::null::<u32>(), 1, "values").is_err());
            assert!(many(values.as_ptr(), usize::MAX, "values").is_err());
            assert!(many(values.as_ptr().byte_add(1), 1, "values").is_err());
            assert!(text(std::ptr::null(), "text").is_err());
            assert_eq!(text(c"so".as_ptr(), "text").unwrap(), c"so");
        }
    }

    #[test]
    fn results_replace_what_lay_there() {
        assert!(place::<u8>(None, "out").is_err());
        let mut lies = MaybeUninit::<Option<Box<u8>>>::uninit();
        assert_eq!(*place(Some(&mut lies), "out").unwrap(), None);
    }
}
