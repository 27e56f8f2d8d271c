// Certificates, the folder that a worker reads, and addresses that need them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "comm/backend/grpc/address.h"
#include "comm/backend/grpc/certificates.h"
#include "comm/backend/grpc/tls_files.h"
#include "tests/trainer/temporary_folder.h"

namespace thinwire::comm {
namespace {

using testing::HasSubstr;

std::string refusal_of(const std::string& dir) {
  try {
    read_tls_files(dir);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

TEST(Certificates, AreReadBackByTheWorkersThatGotThem) {
  const test::TemporaryFolder folder;
  const auto folders = make_certificates({.dir = folder.path(), .names = {"coordinator", "tokyo"}});
  ASSERT_EQ(folders.size(), 2u);
  for (const std::string& dir : folders) EXPECT_FALSE(read_tls_files(dir).empty());
  EXPECT_TRUE(read_tls_files("").empty());
}

TEST(Certificates, AreForTheirOwnersEyesAlone) {
  const test::TemporaryFolder folder;
  make_certificates({.dir = folder.path() + "/certs", .names = {"tokyo"}});
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder.path() + "/certs")) {
    struct stat status = {};
    ASSERT_EQ(::stat(entry.path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, entry.is_directory() ? 0700u : 0600u) << entry.path();
  }
}

TEST(Certificates, CanBeAddedToAnAuthorityButNotReplaced) {
  const test::TemporaryFolder folder;
  const auto first = make_certificates({.dir = folder.path(), .names = {"tokyo"}});
  const auto second = make_certificates({.dir = folder.path(), .names = {"paris"}});
  EXPECT_EQ(read_tls_files(first[0]).ca, read_tls_files(second[0]).ca);
  EXPECT_THROW(make_certificates({.dir = folder.path(), .names = {"tokyo"}}), std::runtime_error);
}

TEST(Certificates, RefuseNamesThatWouldLeaveTheFolderOrForgeAnotherName) {
  const test::TemporaryFolder folder;
  for (const char* name : {"", "../up", "a/b", "a,DNS:b", ".."}) {
    EXPECT_THROW(make_certificates({.dir = folder.path(), .names = {name}}), std::invalid_argument) << name;
  }
  EXPECT_THROW(make_certificates({.dir = folder.path(), .names = {"a"}, .hosts = {"b,IP:1.2.3.4"}}),
               std::invalid_argument);
}

TEST(Certificates, LeaveAFolderOfTheUsersAsOpenAsItIs) {
  const test::TemporaryFolder folder;
  std::filesystem::permissions(folder.path(), std::filesystem::perms(0755));
  make_certificates({.dir = folder.path(), .names = {"tokyo"}});
  EXPECT_EQ(std::filesystem::status(folder.path()).permissions(), std::filesystem::perms(0755));
  EXPECT_EQ(std::filesystem::status(folder.path() + "/tokyo").permissions(), std::filesystem::perms(0700));
}

TEST(Certificates, NeverWaitForAPipeAndNameAFileInTheFoldersPlace) {
  const test::TemporaryFolder folder;
  for (const char* name : {"/ca.key", "/ca.crt"})
    ASSERT_EQ(::mkfifo((folder.path() + name).c_str(), 0600), 0);
  EXPECT_THROW(make_certificates({.dir = folder.path(), .names = {"tokyo"}}), std::runtime_error);
  EXPECT_FALSE(std::filesystem::exists(folder.path() + "/tokyo"));
  std::ofstream(folder.path() + "/file") << "text";
  EXPECT_THROW(make_certificates({.dir = folder.path() + "/file", .names = {"tokyo"}}),
               std::invalid_argument);
}

TEST(TlsFiles, RefuseAnExpiredCertificate) {
  const test::TemporaryFolder folder;
  const auto folders = make_certificates({.dir = folder.path(), .names = {"tokyo"}, .days = -1});
  EXPECT_THAT(refusal_of(folders[0]), HasSubstr("expired at"));
}

TEST(TlsFiles, RefuseACertificateOfAnotherAuthority) {
  const test::TemporaryFolder folder;
  const auto ours = make_certificates({.dir = folder.path() + "/ours", .names = {"tokyo"}});
  const auto theirs = make_certificates({.dir = folder.path() + "/theirs", .names = {"tokyo"}});
  std::filesystem::copy_file(theirs[0] + "/ca.crt", ours[0] + "/ca.crt",
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_THAT(refusal_of(ours[0]), HasSubstr("worker.crt: expected a certificate of the CA"));
}

TEST(TlsFiles, RefuseTheKeyOfAnotherCertificate) {
  const test::TemporaryFolder folder;
  const auto folders = make_certificates({.dir = folder.path(), .names = {"tokyo", "paris"}});
  std::filesystem::copy_file(folders[1] + "/worker.key", folders[0] + "/worker.key",
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_THAT(refusal_of(folders[0]), HasSubstr("worker.key: expected the key of worker.crt"));
}

TEST(TlsFiles, NameTheFileThatIsMissingOrNone) {
  const test::TemporaryFolder folder;
  EXPECT_THAT(refusal_of(folder.path()), HasSubstr("ca.crt"));
  const auto folders = make_certificates({.dir = folder.path(), .names = {"tokyo"}});
  std::ofstream(folders[0] + "/worker.crt") << "no certificate";
  EXPECT_THAT(refusal_of(folders[0]), HasSubstr("worker.crt: expected a certificate in PEM"));
}

TEST(Address, IsAHostAndAPort) {
  EXPECT_EQ(parse_address("tokyo:7000", "x").host, "tokyo");
  EXPECT_EQ(parse_address("[::1]:7000", "x").host, "::1");
  EXPECT_EQ(to_string(parse_address("[::1]:7000", "x")), "[::1]:7000");
  for (const char* text : {"", "tokyo", ":7000", "tokyo:", "tokyo:70000", "tokyo:7x", "::1:7000", "[]:7"}) {
    EXPECT_THROW(parse_address(text, "--listen"), std::invalid_argument) << text;
  }
}

TEST(Address, NeedsCertificatesWhereOthersReachIt) {
  for (const char* text : {"127.0.0.1:0", "127.8.9.1:0", "[::1]:0", "localhost:0"}) {
    EXPECT_NO_THROW(require_tls_or_loopback(parse_address(text, "x"), "", "x")) << text;
  }
  for (const char* text : {"0.0.0.0:0", "192.0.2.1:0", "[::]:0", "no.such.host.invalid:0"}) {
    EXPECT_THROW(require_tls_or_loopback(parse_address(text, "x"), "", "x"), std::invalid_argument) << text;
    EXPECT_NO_THROW(require_tls_or_loopback(parse_address(text, "x"), "certs", "x")) << text;
  }
}

}  // namespace
}  // namespace thinwire::comm
