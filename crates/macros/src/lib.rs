//! How a Rust function of CLLM becomes one of its C interface.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, Expr, ItemFn, LitStr, parse_quote, parse2};

/// Guards an exported function: `#[c_api(value after a failure)]`, or `#[c_api]` for one that
/// returns nothing.
///
/// The body evaluates to a `Result` of what the signature returns. An error or a panic in it is
/// recorded under the function's name, and the caller gets the value above, which may name the
/// arguments. Only the body changes; the signature stays what C sees.
///
/// ```ignore
/// #[unsafe(no_mangle)]
/// #[c_api(-1)]
/// pub unsafe extern "C" fn cllm_verb_noun(model: *mut CLLMModel, n: c_int) -> c_int {
///     let n = ffi::positive(n, "n")?;
///     let model = ffi::get_mut(model, "model")?;
///     // ...
///     Ok(0)
/// }
/// ```
///
/// becomes
///
/// ```ignore
/// pub unsafe extern "C" fn cllm_verb_noun(model: *mut CLLMModel, n: c_int) -> c_int {
///     crate::border::guard("cllm_verb_noun", -1, || { /* the body */ })
/// }
/// ```
#[proc_macro_attribute]
pub fn c_api(
    fallback: proc_macro::TokenStream,
    function: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    guarded(fallback.into(), function.into()).unwrap_or_else(Error::into_compile_error).into()
}

fn guarded(fallback: TokenStream, function: TokenStream) -> syn::Result<TokenStream> {
    let fallback: Expr = if fallback.is_empty() { parse_quote!(()) } else { parse2(fallback)? };
    let mut function: ItemFn = parse2(function)?;
    let ItemFn { attrs, sig, block, .. } = &mut function;
    if sig.abi.is_none() || !attrs.iter().any(exports) {
        let problem = "c_api stands below #[unsafe(no_mangle)], on an extern \"C\" fn";
        return Err(Error::new_spanned(sig, problem));
    }
    let name = LitStr::new(&sig.ident.to_string(), sig.ident.span());
    **block = parse_quote!({ crate::border::guard(#name, #fallback, || #block) });
    Ok(quote!(#function))
}

/// Whether the attribute is `#[unsafe(no_mangle)]`.
fn exports(attribute: &syn::Attribute) -> bool {
    let wrapped = |inner: TokenStream| inner.to_string() == "no_mangle";
    attribute.path().is_ident("unsafe")
        && attribute.meta.require_list().is_ok_and(|list| wrapped(list.tokens.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text without its spaces.
    fn text(tokens: TokenStream) -> String {
        tokens.to_string().replace(' ', "")
    }

    fn expand(fallback: TokenStream, function: TokenStream) -> String {
        guarded(fallback, function).map_or_else(|error| error.to_string(), text)
    }

    #[test]
    fn the_body_runs_in_the_guard_under_its_own_name() {
        let made = expand(
            quote!(-1),
            quote!(
                #[unsafe(no_mangle)]
                pub extern "C" fn f(n: i32) -> i32 {
                    check(n)?;
                    Ok(n)
                }
            ),
        );
        let wanted = quote!(
            #[unsafe(no_mangle)]
            pub extern "C" fn f(n: i32) -> i32 {
                crate::border::guard("f", -1, || {
                    check(n)?;
                    Ok(n)
                })
            }
        );
        assert_eq!(made, text(wanted));
    }

    #[test]
    fn a_function_of_nothing_needs_no_value() {
        let made = expand(
            quote!(),
            quote!(
                #[unsafe(no_mangle)]
                pub extern "C" fn f() {
                    Ok(())
                }
            ),
        );
        assert!(made.contains(&text(quote!(guard("f", (), || { Ok(()) })))), "{made}");
    }

    #[test]
    fn what_c_does_not_see_is_refused() {
        for function in [
            quote!(
                #[unsafe(no_mangle)]
                pub fn f() {
                    Ok(())
                }
            ),
            quote!(
                pub extern "C" fn f() {
                    Ok(())
                }
            ),
        ] {
            assert!(expand(quote!(), function).starts_with("c_api stands below"));
        }
    }
}
