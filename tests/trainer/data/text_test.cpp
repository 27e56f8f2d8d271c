#include "trainer/data/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/trainer/data/string_text.h"
#include "tests/trainer/temporary_folder.h"

namespace thinwire::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using trainer::SourceText;
using trainer::TextCursor;

std::string read_all(const trainer::Text& text) {
  std::string bytes(text.size(), '\0');
  text.read(0, bytes.data(), bytes.size());
  return bytes;
}

TEST(SourceText, IsAFoldersFilesInTheOrderOfTheirPaths) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "b/inner");
  std::filesystem::create_directories(folder / ".git");
  write_bytes(folder / "c", "third");
  write_bytes(folder / "b/inner/x", "second\n");
  write_bytes(folder / "a", "first");
  write_bytes(folder / "b/none", "");
  write_bytes(folder / ".hidden", "never");
  write_bytes(folder / ".git/x", "never");
  EXPECT_EQ(read_all(SourceText(folder.path())), "first\nsecond\nthird\n");
  EXPECT_EQ(read_all(SourceText(folder / "c")), "third");
}

TEST(SourceText, GivesEveryStretchOfIt) {
  const TemporaryFolder folder;
  write_bytes(folder / "a", "first");
  write_bytes(folder / "b", "second\n");
  write_bytes(folder / "c", "third");
  const SourceText text(folder.path());
  const std::string whole = "first\nsecond\nthird\n";
  for (std::size_t begin = 0; begin <= whole.size(); ++begin) {
    for (std::size_t n = 0; n <= whole.size() - begin; ++n) {
      std::string part(n, '\0');
      text.read(begin, part.data(), n);
      ASSERT_EQ(part, whole.substr(begin, n)) << "from " << begin;
    }
  }
}

TEST(SourceText, RefusesWhatHasNoTextByName) {
  const TemporaryFolder folder;
  write_bytes(folder / "empty", "");
  std::filesystem::create_directories(folder / "void");
  EXPECT_THAT(message_of([&] { SourceText(folder / "missing"); }),
              AllOf(HasSubstr(folder / "missing"), HasSubstr("found nothing")));
  EXPECT_THAT(message_of([&] { SourceText(folder / "empty"); }), HasSubstr("/empty' has no text"));
  EXPECT_THAT(message_of([&] { SourceText(folder / "void"); }), HasSubstr("/void' has no text"));
}

TEST(SourceText, RefusesAPipeAndADeviceWithoutWaiting) {
  const TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(message_of([&] { SourceText(folder / "pipe"); }),
              AllOf(HasSubstr("/pipe'"), HasSubstr("not a plain file")));
  EXPECT_THAT(message_of([&] { SourceText("/dev/zero"); }), HasSubstr("'/dev/zero' is not a plain file"));
  // Among a folder's files it is no text.
  write_bytes(folder / "text", "some");
  EXPECT_EQ(read_all(SourceText(folder.path())), "some\n");
}

TEST(SourceText, RefusesAFileThatHasChangedItsSize) {
  const TemporaryFolder folder;
  write_bytes(folder / "a", "first");
  write_bytes(folder / "b", "second");
  const SourceText text(folder.path());
  write_bytes(folder / "a", "first, and more");
  EXPECT_THAT(message_of([&] { read_all(text); }),
              AllOf(HasSubstr("/a' has changed"), HasSubstr("found 15")));
}

TEST(TextCursor, ShowsTheTextOnceWhateverThePieces) {
  std::string bytes;
  for (int i = 0; i < 100000; ++i) bytes += std::to_string(i) + " ";
  const StringText text(bytes);
  for (const std::size_t step : {1000u, 99991u, 262144u, 600000u}) {
    std::string again;
    TextCursor cursor(text, 5, bytes.size() - 7);
    for (std::string_view piece; !(piece = cursor.peek(step)).empty();) {
      EXPECT_TRUE(piece.size() == step || piece.size() == cursor.left());
      const std::size_t taken = (piece.size() + 1) / 2;  // what was peeked at is seen again
      again += piece.substr(0, taken);
      cursor.skip(taken);
    }
    EXPECT_TRUE(again == bytes.substr(5, bytes.size() - 12)) << "pieces of " << step;
  }
}

TEST(TextSize, IsReadable) {
  EXPECT_EQ(trainer::text_size(12345), "12 kB");
  EXPECT_EQ(trainer::text_size(204'000'000), "204 MB");
  EXPECT_EQ(trainer::text_size(1'500'000'000), "1.50 GB");
}

}  // namespace
}  // namespace thinwire::test
