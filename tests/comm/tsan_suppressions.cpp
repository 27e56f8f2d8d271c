// What the thread sanitizer cannot see: the reference counts of exceptions and of their texts live in
// libstdc++.so, which is not instrumented, so that the last owner's free looks like a race with another
// owner's read.
extern "C" const char* __tsan_default_suppressions();
extern "C" const char* __tsan_default_suppressions() {
  return "race:std::__exception_ptr::exception_ptr::_M_release\n"
         "race:std::runtime_error::~runtime_error\n";
}
