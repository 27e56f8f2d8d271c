// The functions of fmt as LibTorch brings it, which is its headers alone. Header-only, every source that
// formats one line would compile them anew: 3.6 s of a core each.
#include <fmt/format-inl.h>

template auto fmt::detail::thousands_sep_impl<char>(locale_ref) -> thousands_sep_result<char>;
template auto fmt::detail::decimal_point_impl<char>(locale_ref) -> char;
