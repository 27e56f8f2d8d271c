// What an exception becomes for a user: a sentence and an exit code. The one place that knows how libraries
// put things (LibTorch's stack frames, a JSON library's codes, a file system's prefix).
#pragma once

#include <exception>
#include <string>

namespace thinwire::launch {

// One or more lines in plain words.
std::string words_of(const std::exception& error);

// kUsage for a setting, a config or a command line that cannot be; else what the exception carries, or
// kRunFailed.
int exit_code_of(const std::exception& error);

// True where the error says only that the others of the world are gone: another worker knows the cause.
bool is_consequence(const std::exception& error);

}  // namespace thinwire::launch
